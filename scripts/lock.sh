#!/usr/bin/env bash
# Resolves the dependencies of setup.cfg for every supported Python at once and locks them with
# their hashes. What is locked already stays, unless UPGRADE is set.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TOOLS=var/lock-tools
[ -x "$TOOLS/bin/uv" ] || { "${VENV:-.venv}/bin/python" -m venv "$TOOLS" && "$TOOLS/bin/pip" install --quiet uv; }

compile() {
    local output=$1
    shift
    "$TOOLS/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --output-file "$output" "$@" setup.cfg
    printf '%s\n' "# Locked for Python 3.11 to 3.13 by \`make lock\`. Don't edit: change setup.cfg." |
        cat - "$output" >"$output.new"
    mv "$output.new" "$output"
}

compile requirements/dev.txt requirements/build.in ${UPGRADE:+--upgrade} \
    --extra bench --extra database --extra dev --extra devnet --extra test
compile requirements/production.txt --constraint requirements/dev.txt ${UPGRADE:+--upgrade}
