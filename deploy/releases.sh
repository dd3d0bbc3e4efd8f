# shellcheck shell=bash
# What deploy.sh, rollback.sh and manage.sh share; sourced by them, never run.
#
# A host holds, under $PREFIX:
#   releases/STAMP-ID/   one directory a release, .complete written last
#   venvs/KEY/           one environment for each state of the lock, shared by the releases that have it
#   current, previous    links to the release that serves and the one that served before
#   .serving             the name of the release that passed the last check

# shellcheck disable=SC2034  # some are deploy.sh's
readonly USAGE=2 SETTINGS=3 UNPACKING=4 MIGRATION=5 GATE=6 ROLLED_BACK=7 DOWN=8 BUSY=75

KIND=service
GATE_PID=
GATE_DIRECTORY=
UNFINISHED=()

# A terminal that has gone away must not end what is under way.
say() { printf '%s\n' "$*" >&2 2>/dev/null || true; }

stop() {
    local code=$1
    shift
    say "Error: $*"
    exit "$code"
}

# Fills in what the environment left open; KIND is service or signer.
load_defaults() {
    if [ "$KIND" = signer ]; then
        PREFIX=${PREFIX:-/opt/patchproof-signer}
        ENV_FILE=${ENV_FILE:-/etc/patchproof-signer/env}
        SERVICE_USER=${SERVICE_USER:-patchproof-signer}
    else
        PREFIX=${PREFIX:-/opt/patchproof}
        ENV_FILE=${ENV_FILE:-/etc/patchproof/patchproof.env}
        SERVICE_USER=${SERVICE_USER:-patchproof}
    fi
    SERVICE_CONTROL=${SERVICE_CONTROL:-systemctl}
    # Empty where this host has no such part.
    WEB_UNIT=${WEB_UNIT-patchproof-web.service}
    NEXT_UNIT=${NEXT_UNIT-patchproof-web-next.service}
    BEAT_UNIT=${BEAT_UNIT-patchproof-beat.service}
    WORKERS=${WORKERS-anchoring maintenance mail}
    KEEP=${KEEP:-5}
    GATE_SECONDS=${GATE_SECONDS:-60}
    CHECK_SECONDS=${CHECK_SECONDS:-45}
    case $KEEP$GATE_SECONDS$CHECK_SECONDS in
    *[!0-9]*) stop "$USAGE" "KEEP, GATE_SECONDS and CHECK_SECONDS must be whole numbers." ;;
    esac
    [ "$KEEP" -ge 2 ] || stop "$USAGE" "KEEP must be 2 or more: the release that serves, and one to go back to."
    case $PREFIX in
    /*) ;;
    *) stop "$USAGE" "PREFIX must be an absolute path, not '$PREFIX'." ;;
    esac
    PREFIX=$(readlink -m "$PREFIX") ENV_FILE=$(readlink -m "$ENV_FILE")
    RELEASES=$PREFIX/releases
    # The service only reads its code.
    umask 022
}

# One at a time on a host. The descriptor is closed in whatever is started, so that nothing that
# stays keeps the lock.
take_lock() {
    if ! { mkdir -p "$RELEASES" && : >>"$PREFIX/.lock"; } 2>/dev/null; then
        stop "$SETTINGS" "$PREFIX can't be written by $(id -un)."
    fi
    exec 9>>"$PREFIX/.lock"
    flock --nonblock 9 || stop "$BUSY" "another deploy or rollback is under way in $PREFIX; nothing was done."
}

# --- Settings and the service's user ---

# Exports the settings as systemd reads them from the same file; nothing is evaluated.
export_settings() {
    local line name value number=0 pairs=()
    [ -r "$ENV_FILE" ] || stop "$SETTINGS" "$ENV_FILE can't be read by $(id -un)."
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        [[ $line =~ ^[[:space:]]*([#\;].*)?$ ]] && continue
        [[ $line =~ ^([A-Za-z_][A-Za-z0-9_]*)=[[:space:]]*(.*)$ ]] ||
            stop "$SETTINGS" "$ENV_FILE, line $number: NAME=value was expected."
        name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
        value=${value%"${value##*[![:space:]]}"}
        case $value in
        \"* | \'* | *\\) stop "$SETTINGS" "$ENV_FILE: $name must stand as it is, without quotes and without \\ at its end." ;;
        esac
        pairs+=("$name=$value")
    done <"$ENV_FILE"
    [ "${#pairs[@]}" = 0 ] || export "${pairs[@]}"
}

# What the shell of whoever deploys has set is not for the service.
forget_environment() {
    local name
    for name in $(compgen -e); do
        case $name in
        PATH | HOME | LANG | LC_* | TZ) ;;
        *) export -n "${name?}" ;;
        esac
    done
}

# The value of one setting in the file, empty where it is not there.
setting() {
    (
        unset "$1"
        export_settings
        printf '%s' "${!1-}"
    )
}

# Becomes the command that follows: in the release, as the service's user, with the service's settings.
# Counters and the address stay those of the serving release: gunicorn empties the directory of the
# former at each start.
become_service() {
    local release=$1 as_user=()
    shift
    exec 9>&-
    if [ "$(id -u)" = 0 ] && [ "$SERVICE_USER" != root ]; then
        as_user=(setpriv "--reuid=$SERVICE_USER" "--regid=$(id -g "$SERVICE_USER")" --init-groups --)
    fi
    cd "$release" || exit "$SETTINGS"
    forget_environment
    export_settings
    [ ! -f release.env ] || export "$(cat release.env)"
    unset PROMETHEUS_MULTIPROC_DIR WEB_BIND
    exec "${as_user[@]}" "$@"
}

as_service() { (become_service "$@"); }

check_user() {
    [ "$(id -u)" != 0 ] || id "$SERVICE_USER" >/dev/null 2>&1 ||
        stop "$SETTINGS" "there is no user $SERVICE_USER: make one, or name another in SERVICE_USER."
}

# Settings and code fit one another, told before anything outside is touched.
check_settings() {
    local release=$1 command=(-c 'import tasks.worker')
    if [ "$KIND" = signer ]; then command=(-m signer list); fi
    say "Checking the settings with the new code"
    as_service "$release" .venv/bin/python "${command[@]}" >/dev/null ||
        stop "$SETTINGS" "the settings in $ENV_FILE don't fit this release (see above); nothing was changed."
}

# --- Releases ---

is_complete() { [ -f "$1/.complete" ]; }

# The directory that a link of $PREFIX names; empty where there is none.
linked() {
    [ ! -e "$PREFIX/$1" ] || readlink -f "$PREFIX/$1"
}

# The release that passed the last check: whatever a script that died has left, that one served.
last_good() {
    local release
    [ -f "$PREFIX/.serving" ] || return 0
    release=$(readlink -f "$RELEASES/$(cat "$PREFIX/.serving")")
    ! is_complete "$release" || printf '%s' "$release"
}

# Complete releases, the newest first.
list_releases() {
    local marker
    for marker in "$RELEASES"/*/.complete; do
        [ ! -f "$marker" ] || dirname "$marker"
    done | sort -r
}

# A link changes in one step, and whoever opens it sees the one or the other.
point() {
    ln -sfn "releases/$(basename "$2")" "$PREFIX/.$1.new"
    mv -T "$PREFIX/.$1.new" "$PREFIX/$1"
}

# Removes what is older than the newest $KEEP, but never what serves or served before.
prune() {
    local release keep
    keep=$(list_releases | head -n "$KEEP" && linked current && linked previous)
    for release in "$RELEASES"/*/; do
        release=${release%/}
        grep -qxF -- "$release" <<<"$keep" || rm -rf -- "$release"
    done
    prune_environments
}

prune_environments() {
    local environment used
    used=$(for link in "$RELEASES"/*/.venv; do readlink -f "$link"; done)
    for environment in "$PREFIX"/venvs/*/; do
        environment=$(readlink -f "$environment") || continue
        grep -qxF -- "$environment" <<<"$used" || rm -rf -- "$environment"
    done
}

# --- The gate: the release serves on a door of its own before anybody depends on it ---

pass_gate() {
    local release=$1
    say "Gate: starting $(basename "$release") beside the one that serves"
    GATE_DIRECTORY=$(mktemp -d "${TMPDIR:-/tmp}/patchproof-gate.XXXXXX")
    [ "$(id -u)" != 0 ] || chown "$SERVICE_USER" "$GATE_DIRECTORY"
    if [ "$KIND" = signer ]; then start_gate_of_signer "$release"; else start_gate_of_service "$release"; fi
    if ! wait_for_gate; then
        tail -n 20 "$GATE_DIRECTORY/log" >&2 || true
        end_gate
        return 1
    fi
    end_gate
}

start_gate_of_service() {
    GATE_URL=(--unix-socket "$GATE_DIRECTORY/web.sock" http://localhost/ready)
    become_service "$1" env PROMETHEUS_MULTIPROC_DIR="$GATE_DIRECTORY/metrics" WEB_WORKERS=1 \
        .venv/bin/python -m gunicorn --config deploy/gunicorn.conf.py \
        --bind "unix:$GATE_DIRECTORY/web.sock" wsgi:app >"$GATE_DIRECTORY/log" 2>&1 &
    GATE_PID=$!
}

start_gate_of_signer() {
    local port
    port=$("$1/.venv/bin/python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    GATE_URL=("http://127.0.0.1:$port/health")
    become_service "$1" env SIGNER_BIND=127.0.0.1 "SIGNER_PORT=$port" \
        .venv/bin/python -m signer serve >"$GATE_DIRECTORY/log" 2>&1 &
    GATE_PID=$!
}

wait_for_gate() {
    local end=$((SECONDS + GATE_SECONDS)) answer=
    until answer=$(curl --noproxy '*' --silent --show-error --fail-with-body --max-time 10 "${GATE_URL[@]}" 2>&1); do
        kill -0 "$GATE_PID" 2>/dev/null || { say "It has ended. Its last lines:" && return 1; }
        [ "$SECONDS" -lt "$end" ] || { say "Not ready after $GATE_SECONDS seconds: $answer" && return 1; }
        sleep 0.2
    done
    case $answer in
    *degraded*) say "Ready, with something missing that it can be without for a while: $answer" ;;
    esac
}

end_gate() {
    [ -z "$GATE_PID" ] || { kill "$GATE_PID" && wait "$GATE_PID"; } 2>/dev/null || true
    [ -z "$GATE_DIRECTORY" ] || rm -rf -- "$GATE_DIRECTORY"
    GATE_PID='' GATE_DIRECTORY=''
}

# --- Taking over ---

control() {
    local words
    read -ra words <<<"$SERVICE_CONTROL"
    "${words[@]}" "$@" 9>&-
}

worker_units() {
    local queue
    for queue in $WORKERS; do printf 'patchproof-worker@%s.service\n' "$queue"; done
    [ -z "$BEAT_UNIT" ] || printf '%s\n' "$BEAT_UNIT"
}

# Workers finish their task, and the next begin. All at once: the slowest counts.
restart_workers() {
    local units
    mapfile -t units < <(worker_units)
    [ "${#units[@]}" = 0 ] || control restart "${units[@]}"
}

# The socket stays open (patchproof-web.socket), and a second API takes calls from it while the first
# ends and begins anew. Never restart patchproof.target, which would close it.
restart_web() {
    [ -n "$WEB_UNIT" ] || return 0
    if [ -z "$NEXT_UNIT" ] || [ -z "$(last_good)" ]; then
        control restart "$WEB_UNIT"
    else
        # Not `start`: a next one that a script left behind, or that failed, has other code.
        control restart "$NEXT_UNIT" && control restart "$WEB_UNIT" && control stop "$NEXT_UNIT"
    fi
}

# Whoever knows more starts last when going forward, and ends first when going back: a new worker
# knows every message of an old API, an old worker not those of a new one.
restart_all() {
    if [ "$KIND" = signer ]; then
        control restart patchproof-signer.service
    elif [ "$1" = forward ]; then
        restart_workers && restart_web
    else
        restart_web && restart_workers
    fi
}

# Whether the release that runs does its work, as those see it who use it.
check_serving() {
    local release=$1 end=$((SECONDS + CHECK_SECONDS))
    if [ "$KIND" = signer ]; then
        wait_for_door "http://$(signer_address)/health" "$end" --noproxy '*'
    else
        check_door "$end" && check_workers "$release" "$end"
    fi
}

signer_address() {
    local bind port
    bind=$(setting SIGNER_BIND) port=$(setting SIGNER_PORT)
    printf '%s:%s' "${bind:-127.0.0.1}" "${port:-4000}"
}

check_door() {
    local url options=()
    [ -n "$WEB_UNIT" ] || return 0
    url=${PUBLIC_URL:-$(setting PUBLIC_BASE_URL)}
    [ -n "$url" ] || { say "PUBLIC_BASE_URL is not set, nor PUBLIC_URL: the door can't be checked." && return 1; }
    [ -z "${PUBLIC_ADDRESS:-}" ] || options+=(--connect-to "::$PUBLIC_ADDRESS:")
    [ -z "${PUBLIC_CA:-}" ] || options+=(--cacert "$PUBLIC_CA")
    wait_for_door "${url%/}/ready" "$1" "${options[@]}"
}

wait_for_door() {
    local url=$1 end=$2 answer=
    shift 2
    say "Checking $url"
    until answer=$(curl --silent --show-error --fail-with-body --max-time 10 "$@" "$url" 2>&1); do
        [ "$SECONDS" -lt "$end" ] || { say "$url is not ready: $answer" && return 1; }
        sleep 0.2
    done
}

# Each worker of this host answers a ping that travels through the broker.
check_workers() {
    local release=$1 end=$2 names answer=
    # shellcheck disable=SC2086  # one word a queue
    names=$([ -z "$WORKERS" ] || printf "%s@$(hostname)\n" $WORKERS)
    [ -n "$names" ] || return 0
    say "Checking the workers"
    until
        answer=$(as_service "$release" .venv/bin/python -m celery -A tasks.worker --quiet inspect \
            --destination "${names//$'\n'/,}" --timeout 5 --json ping 2>/dev/null)
        all_answered "$names" "$answer"
    do
        [ "$SECONDS" -lt "$end" ] || { say "Not every worker answers: ${answer:-none}" && return 1; }
    done
}

all_answered() {
    local name
    while read -r name; do
        [[ $2 == *"\"$name\""* ]] || return 1
    done <<<"$1"
}

# Puts the release in the place of the one that serves. $2 says whether it is the newer one.
# Before the switch a failure changes nothing; after it the old release comes back by itself.
take_over() {
    local release=$1 direction=$2
    UNDO=$(last_good) DIRECTION=$direction
    [ "$UNDO" != "$release" ] || UNDO=
    pass_gate "$release" ||
        stop "$GATE" "$(basename "$release") did not become ready; what served before goes on serving."
    say "Switching to $(basename "$release")"
    SWITCHED=1
    point current "$release"
    if restart_all "$direction" && check_serving "$release"; then
        SWITCHED=
        [ -z "$UNDO" ] || point previous "$UNDO"
        basename "$release" >"$PREFIX/.serving"
        return
    fi
    SWITCHED=
    come_back
}

# Gives the place back to the release that served. Ends the script. A trap may call it, where `return`
# alone would give the status from before the trap: nothing that it calls has one.
come_back() {
    local backward=backward
    [ -n "$UNDO" ] ||
        stop "$DOWN" "it does not serve, and there is nothing to go back to. Mend what is said above and run this again."
    [ "$DIRECTION" = forward ] || backward=forward
    trap : HUP INT TERM
    say "The check failed: going back to $(basename "$UNDO")"
    # There is nothing else to go back to, so this one is given longer.
    CHECK_SECONDS=$((CHECK_SECONDS + GATE_SECONDS))
    point current "$UNDO"
    if restart_all "$backward" && check_serving "$UNDO"; then
        stop "$ROLLED_BACK" "it did not serve as it should (see above); $(basename "$UNDO") serves again."
    fi
    stop "$DOWN" "neither the new release nor $(basename "$UNDO") serves as it should: look at the services' logs now."
}

# Whatever ends the script leaves no gate running, no switch half done and nothing half made.
on_exit() {
    local code=$?
    trap - EXIT
    end_gate
    [ "${#UNFINISHED[@]}" = 0 ] || rm -rf -- "${UNFINISHED[@]}"
    if [ -n "${SWITCHED:-}" ]; then
        SWITCHED=
        say "Interrupted after the switch."
        come_back
    fi
    exit "$code"
}

guard() {
    trap on_exit EXIT
    trap '' PIPE
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}
