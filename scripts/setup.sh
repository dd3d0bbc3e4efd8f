#!/usr/bin/env bash
# Makes the virtual environment with the locked packages, once for each state of the lock.
# Safe to interrupt and to repeat: the stamp is written last.
#
# PYTHON names the interpreter; without it the first that works is taken, 3.11 before 3.12 and 3.13,
# since there every package comes ready-made. VENV names the directory (.venv).
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VENV=${VENV:-.venv}
readonly LOCK=requirements/dev.txt
readonly CLIENT=clients/python
readonly STAMP=$VENV/.patchproof-ready
readonly LOG=$VENV/setup.log
readonly SUPPORTED='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
readonly USABLE='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
readonly VERSION='import sys; print("%d.%d" % sys.version_info[:2])'

say() { printf '%s\n' "$*" >&2; }

stop() {
    say "Error: $*"
    exit 1
}

# Being on the path proves little: a shim without its interpreter is there too.
runs() { "$1" -c "$2" >/dev/null 2>&1; }

find_python() {
    local candidate root=${PYENV_ROOT:-$HOME/.pyenv}
    if [ -n "${PYTHON:-}" ]; then
        runs "$PYTHON" "$SUPPORTED" || stop "$PYTHON is no Python 3.11, 3.12 or 3.13 that runs."
        runs "$PYTHON" "$USABLE" || stop "$PYTHON lacks the modules venv and ensurepip."
        echo "$PYTHON"
        return
    fi
    for minor in 11 12 13; do
        for candidate in "python3.$minor" python3 "$root"/versions/3."$minor".*/bin/python; do
            if runs "$candidate" "$USABLE" && [ "$("$candidate" -c "$VERSION")" = "3.$minor" ]; then
                echo "$candidate"
                return
            fi
        done
    done
    stop "no Python 3.11, 3.12 or 3.13 with venv was found. Install one, or name it: PYTHON=/path/to/python make ..."
}

# What the environment was made from: it is made again when any of it changes.
fingerprint() { cat "$LOCK" "$CLIENT/setup.cfg" | cksum; }

is_ready() {
    [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(fingerprint)" ] && runs "$VENV/bin/python" "$SUPPORTED" &&
        { [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -c "$VERSION")" = "$("$VENV/bin/python" -c "$VERSION")" ]; }
}

# Ready-made packages exist for Python 3.11 on Linux x86_64; elsewhere some are compiled.
needs_compiler() {
    [ "$("$1" -c "$VERSION")" != 3.11 ] || [ "$(uname -sm)" != "Linux x86_64" ]
}

has_headers() {
    "$1" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'
}

has_build_tools() {
    local tool
    for tool in autoconf automake pkg-config make cc; do
        command -v "$tool" >/dev/null || return 1
    done
    { command -v libtoolize || command -v glibtoolize; } >/dev/null && has_headers "$1"
}

# The one command that installs the build tools here.
install_command() {
    local version
    version=$("$1" -c "$VERSION")
    if command -v apt-get >/dev/null; then
        local packages="autoconf automake libtool pkg-config build-essential"
        has_headers "$1" || packages="$packages python$version-dev"
        echo "apt-get update && apt-get install -y $packages"
    elif command -v dnf >/dev/null; then
        echo "dnf install -y autoconf automake libtool pkgconf-pkg-config gcc make python$version-devel"
    elif command -v apk >/dev/null; then
        echo "apk add autoconf automake libtool pkgconf gcc musl-dev linux-headers make python3-dev"
    elif command -v zypper >/dev/null; then
        echo "zypper --non-interactive install autoconf automake libtool pkg-config gcc make python${version/./}-devel"
    elif command -v pacman >/dev/null; then
        echo "pacman -S --needed --noconfirm autoconf automake libtool pkgconf gcc make"
    elif command -v brew >/dev/null; then
        echo "brew install autoconf automake libtool pkg-config"
    fi
}

ensure_build_tools() {
    local command
    has_build_tools "$1" && return
    command=$(install_command "$1")
    [ -n "$command" ] || stop "install autoconf, automake, libtool, pkg-config, make and a C compiler, then try again."
    case $command in
        brew*) as_root=(bash -c) ;;
        *) if [ "$(id -u)" = 0 ]; then
            as_root=(bash -c)
        elif sudo -n true 2>/dev/null; then
            as_root=(sudo -n bash -c)
        else
            stop "Python $("$1" -c "$VERSION") compiles secp256k1 and needs build tools. Run this, then try again:
  sudo sh -c '$command'"
        fi ;;
    esac
    say "Installing build tools: $command"
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" "$command" >>"$LOG" 2>&1 || fail_with_log "$command"
    has_build_tools "$1" || stop "the build tools are still missing after: $command"
}

fail_with_log() {
    tail -n 30 "$LOG" >&2
    stop "$1 failed. The whole log is $LOG"
}

make_environment() {
    if ! runs "$VENV/bin/python" "$SUPPORTED" || [ "$("$VENV/bin/python" -c "$VERSION")" != "$("$1" -c "$VERSION")" ]; then
        "$1" -m venv --clear "$VENV"
    fi
    rm -f "$STAMP"
}

install_packages() {
    local pip=("$VENV/bin/python" -m pip --disable-pip-version-check)
    # The lock is whole, so nothing is resolved: pip would try the newest release for a requirement
    # with extras, such as coverage[toml], and then stop since its hash is not in the lock.
    "${pip[@]}" install --no-deps --require-hashes -r "$LOCK" >>"$LOG" 2>&1 || fail_with_log "pip install -r $LOCK"
    "${pip[@]}" install --no-deps --no-build-isolation --editable . --editable "$CLIENT" >>"$LOG" 2>&1 ||
        fail_with_log "pip install -e . -e $CLIENT"
    "${pip[@]}" check >>"$LOG" 2>&1 || fail_with_log "pip check"
}

main() {
    is_ready && return
    local python
    python=$(find_python)
    say "Setting up $VENV with Python $("$python" -c "$VERSION"), about a minute ..."
    make_environment "$python"
    : >"$LOG"
    if needs_compiler "$python"; then ensure_build_tools "$python"; fi
    install_packages
    fingerprint >"$STAMP"
}

main
