#!/usr/bin/env bash
# Runs manage.py (or the signer's commands) of this host's release as the service does.
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
# shellcheck source=deploy/releases.sh
. "$HERE/releases.sh"

usage() {
    cat <<'END'
Usage: manage.sh COMMAND ...
       manage.sh --signer COMMAND ...

Runs `manage.py COMMAND ...` of the release that serves, as the service's user, with the settings in
ENV_FILE; with --signer `python -m signer COMMAND ...`. Before the first start it takes the release that
was prepared. It runs in the release's directory, so paths in COMMAND are absolute, and files that it
writes are where that user may write. PREFIX, ENV_FILE and SERVICE_USER are those of deploy.sh.

The exit code is the command's; 3 where there is no release or no settings.

Examples:
  /opt/patchproof/current/deploy/manage.sh doctor
  /opt/patchproof/current/deploy/manage.sh keys create --name shop --scope patches:write
  /opt/patchproof-signer/current/deploy/manage.sh --signer list
END
}

main() {
    local release command=(manage.py)
    case ${1:-} in
    --help | -h | '') usage && exit 0 ;;
    --signer)
        KIND=signer command=(-m signer)
        shift
        ;;
    esac
    load_defaults
    check_user
    release=$(linked current)
    [ -n "$release" ] || release=$(list_releases | head -n 1)
    [ -n "$release" ] || stop "$SETTINGS" "there is no release in $RELEASES: deploy one first (deploy.sh --prepare)."
    become_service "$release" .venv/bin/python "${command[@]}" "$@"
}

main "$@"
