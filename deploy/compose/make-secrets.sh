#!/usr/bin/env bash
# Makes the secrets that compose.yaml hands to its containers, each as a file; never replaces one.
# Usage: deploy/compose/make-secrets.sh [--self-signed NAME]
#
# The directory lets only its owner in, and the files in it can be read: containers read them as users
# of their own. A certificate for the public name goes to secrets/tls_certificate and secrets/tls_key;
# --self-signed makes one that nobody trusts, to try things out.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

readonly DIRECTORY=${SECRETS:-secrets}

# Writes what the command says, whole or not at all, unless the file is there.
keep() {
    local path=$DIRECTORY/$1
    shift
    [ ! -s "$path" ] || return 0
    "$@" >"$path.new"
    mv "$path.new" "$path"
}

make_certificate() {
    [ ! -s "$DIRECTORY/tls_key" ] || return 0
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
        -subj "/CN=$1" -addext "subjectAltName=DNS:$1" \
        -keyout "$DIRECTORY/tls_key" -out "$DIRECTORY/tls_certificate" 2>/dev/null
    chmod 644 "$DIRECTORY/tls_key"
}

case ${1:-} in
'') ;;
--self-signed) [ -n "${2:-}" ] || { echo "make-secrets.sh: --self-signed needs a name" >&2 && exit 2; } ;;
*) sed -n '2,7s/^# \?//p' "$0" && exit 2 ;;
esac
umask 022
mkdir -p "$DIRECTORY"
chmod 700 "$DIRECTORY"
for name in mongo_root_password mongo_password redis_password kms_api_key signer_passphrase jwt_secret master_secret; do
    keep "$name" openssl rand -hex 32
done
keep mongo_keyfile openssl rand -base64 756
keep mongodb_uri printf 'mongodb://patchproof:%s@mongo:27017/patchproof_prod?replicaSet=rs0&authSource=admin\n' \
    "$(cat "$DIRECTORY/mongo_password")"
[ -z "${2:-}" ] || make_certificate "$2"
[ -s "$DIRECTORY/tls_key" ] || echo "Put the certificate into $DIRECTORY/tls_certificate and its key into $DIRECTORY/tls_key." >&2
