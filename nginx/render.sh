#!/bin/sh
# Writes nginx's configuration for this host to stdout. PATCHPROOF_SERVER_NAME is needed; the other
# settings have a value that fits Debian and deploy/gunicorn.conf.py.
set -eu

: "${PATCHPROOF_SERVER_NAME:?names the host that clients use, e.g. patchproof.example.com}"
https_port=${PATCHPROOF_HTTPS_PORT:-443}
suffix=
[ "$https_port" = 443 ] || suffix=":${https_port##*:}"

# None of these may hold what sed or nginx would read as its own.
put() {
    case $2 in
    '' | *[!A-Za-z0-9._:/\[\]-]*)
        echo "render.sh: '$2' can't stand for $1" >&2
        exit 1
        ;;
    esac
    script="${script-}s|@$1@|$2|g
"
}

put SERVER_NAME "$PATCHPROOF_SERVER_NAME"
put HTTP_PORT "${PATCHPROOF_HTTP_PORT:-80}"
put HTTPS_PORT "$https_port"
put CERTIFICATE "${PATCHPROOF_CERTIFICATE:-/etc/letsencrypt/live/$PATCHPROOF_SERVER_NAME/fullchain.pem}"
put CERTIFICATE_KEY "${PATCHPROOF_CERTIFICATE_KEY:-/etc/letsencrypt/live/$PATCHPROOF_SERVER_NAME/privkey.pem}"
put UPSTREAM "${PATCHPROOF_UPSTREAM:-127.0.0.1:3001}"
put LOG "${PATCHPROOF_NGINX_LOG:-/var/log/nginx/patchproof.json}"
put ERROR_LOG "${PATCHPROOF_NGINX_ERROR_LOG:-/var/log/nginx/patchproof.error.log}"

sed "$script
s|@HTTPS_SUFFIX@|$suffix|g" "$(dirname "$0")/patchproof.conf.template"
