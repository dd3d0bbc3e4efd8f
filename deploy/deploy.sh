#!/usr/bin/env bash
# Puts a release beside the old ones, and in their place once it has shown that it serves.
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=deploy/releases.sh
. "$HERE/releases.sh"

usage() {
    cat <<'END'
Usage: deploy.sh [--signer] [--prepare] [--again] REF
       deploy.sh [--signer] [--prepare] [--again] --archive FILE | --directory DIRECTORY

Installs a release of PatchProof on this host and serves it, without a failed request. REF is a commit,
tag or branch of the checkout that this script is in; an archive is a .tar, .tar.gz or .tar.xz of one.

  unpack      $PREFIX/releases/STAMP-ID, its packages by hash into $PREFIX/venvs
  settings    read by the new code; a bad one is named
  migrate     manage.py db migrate: the release before must be able to live with it
  gate        the new API serves on a door of its own until /ready says that it is ready
  switch      $PREFIX/current, in one step; workers and clock restart once they have finished
              their task, then the API, whose socket stays open
  check       /ready through the public door, and every worker answers
  tidy        the newest five releases are kept

What fails before the switch changes nothing that serves. What fails after it brings the old release
back. It may be run again at any time: a release that serves already is left alone.

Options:
  --prepare   stop after migrate: to make keys before the first start, or to install new units
  --again     restart and check even if this release serves already, e.g. after a change of settings
  --signer    the signing service instead, under its own prefix and user; its callers try again for
              the second in which it restarts
  --help      this text

Environment:
  PREFIX=/opt/patchproof                     /opt/patchproof-signer with --signer
  ENV_FILE=/etc/patchproof/patchproof.env    /etc/patchproof-signer/env with --signer; only read
  SERVICE_USER=patchproof                    patchproof-signer with --signer; not used unless root deploys
  SERVICE_CONTROL=systemctl                  is called with: restart UNIT ..., and with: stop UNIT ...
  WORKERS="anchoring maintenance mail"       the queues that have a worker on this host, maybe none
  WEB_UNIT=patchproof-web.service            empty where this host has no API
  NEXT_UNIT=patchproof-web-next.service      the API that answers meanwhile; empty saves its memory, and
                                             callers wait for the seconds in which the API restarts
  BEAT_UNIT=patchproof-beat.service          empty where this host has no clock
  PUBLIC_URL=                                the public door, PUBLIC_BASE_URL of the settings without it
  PUBLIC_ADDRESS=                            where its name is reached from here, e.g. 127.0.0.1
  PUBLIC_CA=                                 a file of certificates that it is checked against
  KEEP=5  GATE_SECONDS=60  CHECK_SECONDS=45
  BEFORE_MIGRATING=                          a command, e.g. a dump of the database; its failure ends all
  PYTHON=python3                             3.11, 3.12 or 3.13
  WHEELS=                                    a directory of packages, instead of the index
  PATCHPROOF_VENV=                           an installed environment, instead of one of our own: for images

Exit codes:
  0   it serves
  2   wrong usage
  3   a setting, a tool or a permission is missing; nothing was changed
  4   the release can't be unpacked or its packages can't be installed; nothing was changed
  5   the migration failed; the old release goes on serving
  6   the new release did not become ready; the old one goes on serving
  7   it failed after the switch; the old release serves again
  8   it failed after the switch, and nothing serves as it should: act now
  75  another deploy or rollback is under way; nothing was done

Examples:
  /opt/patchproof/source/deploy/deploy.sh v1.4.0
  PUBLIC_ADDRESS=127.0.0.1 deploy/deploy.sh --archive /root/patchproof-1.4.0.tar.gz
  deploy/deploy.sh --signer v1.4.0
END
}

main() {
    local release
    read_arguments "$@"
    load_defaults
    check_tools
    check_user
    take_lock
    guard
    identify
    release=$(find_release)
    if [ -n "$release" ] && [ "$release" = "$(last_good)" ] && [ "$release" = "$(linked current)" ] &&
        [ -z "$AGAIN$PREPARE" ]; then
        say "$(basename "$release") serves already (--again restarts it)."
        return
    fi
    if [ -z "$release" ]; then
        release=$RELEASES/$(date -u +%Y%m%dT%H%M%SZ)-$ID
        make_release "$release"
    fi
    bring_up "$release"
}

read_arguments() {
    SOURCE='' FORM=ref AGAIN='' PREPARE=''
    while [ $# -gt 0 ]; do
        case $1 in
        --help | -h) usage && exit 0 ;;
        --signer) KIND=signer ;;
        --prepare) PREPARE=1 ;;
        --again) AGAIN=1 ;;
        --archive | --directory)
            [ $# -gt 1 ] || stop "$USAGE" "$1 needs a path. See --help."
            set_source "${1#--}" "$2"
            shift
            ;;
        -*) stop "$USAGE" "there is no option $1. See --help." ;;
        *) set_source ref "$1" ;;
        esac
        shift
    done
    [ -n "$SOURCE" ] || stop "$USAGE" "name what to deploy: REF, --archive FILE or --directory DIRECTORY. See --help."
}

set_source() {
    [ -z "$SOURCE" ] || stop "$USAGE" "one release at a time, not '$SOURCE' and '$2'."
    [ -n "$2" ] || stop "$USAGE" "an empty name is no release."
    FORM=$1 SOURCE=$2
}

check_tools() {
    local tool
    PYTHON=${PYTHON:-python3}
    for tool in curl flock git setpriv tar; do
        command -v "$tool" >/dev/null || stop "$SETTINGS" "$tool is not installed (apt-get install curl git python3 python3-venv util-linux)."
    done
    [ -n "${PATCHPROOF_VENV:-}" ] || "$PYTHON" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null ||
        stop "$SETTINGS" "$PYTHON is no Python 3.11, 3.12 or 3.13 with venv (apt-get install python3-venv)."
}

# --- Where the release comes from ---

# Names what is deployed by what is in it, so that the same thing is known again.
identify() {
    case $FORM in
    archive)
        [ -f "$SOURCE" ] || stop "$UNPACKING" "there is no archive $SOURCE."
        ID=$(sha256sum <"$SOURCE" | cut -c1-12)
        ;;
    directory)
        [ -f "$SOURCE/wsgi.py" ] || stop "$UNPACKING" "$SOURCE is no directory of PatchProof."
        ID=$(pack_directory | sha256sum | cut -c1-12)
        ;;
    ref)
        ID=$(git -C "$HERE" rev-parse --verify --quiet --short=12 "$SOURCE^{commit}") ||
            stop "$UNPACKING" "$HERE is no git checkout that knows '$SOURCE' (git fetch --tags?)."
        ;;
    esac
}

pack_directory() {
    tar --create --directory "$SOURCE" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
        --exclude-vcs --exclude=./.venv --exclude=./var --exclude='./.*_cache' --exclude=__pycache__ .
}

pack() {
    case $FORM in
    archive) cat "$SOURCE" ;;
    directory) pack_directory ;;
    ref) git -C "$HERE/.." archive --format=tar "$ID" ;;
    esac
}

# The complete release with this ID; empty where there is none.
find_release() {
    local release
    for release in $(list_releases); do
        [[ $release != *-"$ID" ]] || { printf '%s' "$release" && return; }
    done
}

make_release() {
    local release=$1 unpacked=$RELEASES/.unpacked root
    say "Unpacking $(basename "$release")"
    UNFINISHED=("$unpacked" "$unpacked.tar" "$release")
    rm -rf -- "$unpacked"
    mkdir "$unpacked"
    pack >"$unpacked.tar" || stop "$UNPACKING" "$SOURCE can't be read."
    tar --extract --file "$unpacked.tar" --no-same-owner --no-same-permissions --directory "$unpacked" ||
        stop "$UNPACKING" "$SOURCE is no tar archive that can be unpacked."
    root=$(find_root "$unpacked")
    mv -T "$root" "$release"
    rm -rf -- "$unpacked" "$unpacked.tar"
    link_environment "$release"
    printf 'DEPLOY_SHA=%s\n' "$ID" >"$release/release.env"
    compile "$release"
    touch "$release/.complete"
    UNFINISHED=()
}

# Archives of hosting sites have everything in one directory.
find_root() {
    local candidate
    for candidate in "$1" "$1"/*/; do
        [ ! -f "$candidate/wsgi.py" ] || { printf '%s' "${candidate%/}" && return; }
    done
    stop "$UNPACKING" "there is no PatchProof in $SOURCE."
}

# The service can't write into its code, and would compile it anew at each start.
compile() {
    local part parts=()
    for part in app migrations signer tasks wsgi.py manage.py; do
        [ ! -e "$1/$part" ] || parts+=("$1/$part")
    done
    "$1/.venv/bin/python" -m compileall -q -j 0 "${parts[@]}" ||
        stop "$UNPACKING" "its code can't be compiled."
}

# --- Its packages ---

link_environment() {
    local environment
    if [ -n "${PATCHPROOF_VENV:-}" ]; then
        environment=$(readlink -m "$PATCHPROOF_VENV")
    else
        environment=$(environment_path "$1")
        [ -f "$environment/.complete" ] || make_environment "$1" "$environment"
    fi
    [ -x "$environment/bin/python" ] || stop "$UNPACKING" "there is no environment at $environment."
    ln -s "$environment" "$1/.venv"
}

# Releases with the same lock share one.
environment_path() {
    local key
    [ -f "$1/requirements/production.txt" ] || stop "$UNPACKING" "the release has no requirements/production.txt."
    key=$({ "$PYTHON" -VV && cat "$1/requirements/production.txt"; } | sha256sum | cut -c1-16)
    printf '%s' "$PREFIX/venvs/$key"
}

make_environment() {
    local release=$1 environment=$2 options=(--no-deps --require-hashes --no-input --disable-pip-version-check --quiet)
    [ -z "${WHEELS:-}" ] || options+=(--no-index --find-links "$WHEELS")
    say "Installing its packages, about a minute"
    UNFINISHED+=("$environment")
    "$PYTHON" -m venv --clear "$environment" || stop "$UNPACKING" "$PYTHON -m venv failed."
    "$environment/bin/python" -m pip install "${options[@]}" --requirement "$release/requirements/production.txt" >&2 ||
        stop "$UNPACKING" "its packages can't be installed."
    resolve_paths "$environment"
    touch "$environment/.complete"
}

# Processes are started through current/.venv. Without this, one that goes on running after the switch
# would import what it has not yet imported from the packages of the next release.
resolve_paths() {
    local packages
    packages=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo 'import os, sys; sys.path[:] = [os.path.realpath(path) for path in sys.path]' >"$packages/patchproof_release.pth"
}

# --- Up ---

bring_up() {
    local release=$1
    if [ "$KIND" = service ]; then
        check_settings "$release"
        migrate "$release"
    elif [ -z "$PREPARE" ]; then
        check_settings "$release"
    fi
    if [ -n "$PREPARE" ]; then
        say "$(basename "$release") is prepared; nothing was switched."
        return
    fi
    tell_changes "$release"
    take_over "$release" forward
    prune
    say "$(basename "$release") serves, after $SECONDS seconds."
}

migrate() {
    if [ -n "${BEFORE_MIGRATING:-}" ]; then
        say "Before migrating: $BEFORE_MIGRATING"
        bash -c "$BEFORE_MIGRATING" 9>&- || stop "$MIGRATION" "it failed; nothing was migrated."
    else
        say "Migrating. No dump is made first: BEFORE_MIGRATING would."
    fi
    as_service "$1" .venv/bin/python manage.py db migrate >&2 ||
        stop "$MIGRATION" "the migration failed; what served before goes on serving."
}

# Units and the proxy's configuration belong to the system: people install them.
tell_changes() {
    local part old
    old=$(last_good)
    [ -n "$old" ] || return 0
    for part in deploy/systemd nginx deploy/env.example; do
        [ ! -e "$old/$part" ] || diff -rq "$old/$part" "$1/$part" >/dev/null 2>&1 ||
            say "Note: $part differs from that of $(basename "$old"), see docs/operations/upgrade.md."
    done
}

main "$@"
