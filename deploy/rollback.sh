#!/usr/bin/env bash
# Puts an earlier release back in its place, once it has shown that it still serves.
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=deploy/releases.sh
. "$HERE/releases.sh"

usage() {
    cat <<'END'
Usage: rollback.sh [--signer] [RELEASE]
       rollback.sh [--signer] --list

Serves the release that served before, or the one that is named (--list shows them), without a failed
request: it goes through the same gate, switch and check as a deploy. Should it fail its check, the
release that serves now comes back. The database is left as it is: a release must be able to live with
the migrations of the next one, and of no later ones.

Options:
  --list      show the releases of this host; * serves, - served before
  --signer    the signing service instead
  --help      this text

The environment and the exit codes are those of deploy.sh (deploy.sh --help).

Examples:
  /opt/patchproof/current/deploy/rollback.sh
  /opt/patchproof/current/deploy/rollback.sh 20260314T090000Z-1f2e3d4c5b6a
END
}

main() {
    local name='' list=''
    while [ $# -gt 0 ]; do
        case $1 in
        --help | -h) usage && exit 0 ;;
        --signer) KIND=signer ;;
        --list) list=1 ;;
        -* | '') stop "$USAGE" "there is no option '$1'. See --help." ;;
        *)
            [ -z "$name" ] || stop "$USAGE" "one release at a time. See --help."
            name=$1
            ;;
        esac
        shift
    done
    load_defaults
    if [ -n "$list" ]; then
        show_releases
        return
    fi
    check_user
    take_lock
    guard
    go_back_to "$name"
}

show_releases() {
    local release mark current previous
    current=$(linked current) previous=$(linked previous)
    while read -r release; do
        case $release in
        "$current") mark='*' ;;
        "$previous") mark='-' ;;
        *) mark=' ' ;;
        esac
        printf '%s %s\n' "$mark" "$(basename "$release")"
    done < <(list_releases)
}

go_back_to() {
    local release
    release=$(find_target "$1")
    if [ "$release" = "$(last_good)" ] && [ "$release" = "$(linked current)" ]; then
        say "$(basename "$release") serves already."
        return
    fi
    check_settings "$release"
    take_over "$release" backward
    say "$(basename "$release") serves, after $SECONDS seconds."
}

find_target() {
    local release
    case $1 in
    '')
        release=$(linked previous)
        [ -n "$release" ] || stop "$USAGE" "no release served before; --list shows those of this host."
        ;;
    */* | .*) stop "$USAGE" "'$1' is no name of a release; --list shows them." ;;
    *) release=$RELEASES/$1 ;;
    esac
    is_complete "$release" || stop "$USAGE" "there is no complete release $(basename "$release"); --list shows those of this host."
    printf '%s' "$(readlink -f "$release")"
}

main "$@"
