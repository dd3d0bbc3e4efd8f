"""The HTTP side of the signer (http-api, section 9)."""

import hashlib
import hmac
import logging
import re
import secrets
import time

from flask import Flask, Response, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.bitcoin.addresses import Network
from signer import logs
from signer.errors import RequestRefusedError, TooLargeError, UnknownKeyError
from signer.keyring import KeyRing
from signer.svd import derive_shared_secret
from signer.wire import (
    MAX_BODY_BYTES,
    find_signing_keys,
    read_derive_request,
    read_sign_request,
)

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
BEARER = "Bearer "
TOO_LARGE = f"The body may have at most {MAX_BODY_BYTES} bytes."


def create_app(keyring: KeyRing, api_key: str, network: Network) -> Flask:
    """Build the signer over keys that are already decrypted."""
    app = Flask("signer", static_folder=None)
    # Werkzeug cuts a chunked body off at its limit instead of refusing it: one byte of room
    # lets `_read_body` see that there was more.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    views = Views(keyring, api_key, network)
    app.before_request(views.begin)
    app.after_request(views.finish)
    app.register_error_handler(RequestRefusedError, _refuse)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(Exception, _fail)
    app.add_url_rule("/sign", view_func=views.sign, methods=["POST"])
    app.add_url_rule("/svd/derive-secret", view_func=views.derive_secret, methods=["POST"])
    app.add_url_rule("/pubkey", view_func=views.public_key, methods=["GET"])
    app.add_url_rule("/health", view_func=views.health, methods=["GET"])
    return app


class Views:
    """What the routes answer, over one set of keys."""

    def __init__(self, keyring: KeyRing, api_key: str, network: Network) -> None:
        self._keyring = keyring
        self._api_key_hash = hashlib.sha256(api_key.encode()).digest()
        self._network = network

    def begin(self) -> ResponseReturnValue | None:
        """Authenticate every request but the health check, before its body is read."""
        g.started_at = time.perf_counter()
        given_id = request.headers.get("x-request-id", "")
        g.request_id = given_id if REQUEST_ID.fullmatch(given_id) else secrets.token_hex(16)
        g.digests, g.key_identifiers = 0, []
        if request.path == "/health" or self._is_authorised():
            return None
        return jsonify(error="unauthorized"), 401

    def finish(self, response: Response) -> Response:
        """Log the request and mark its answer."""
        response.headers["X-Request-Id"] = g.request_id
        response.headers["Cache-Control"] = "no-store"
        _log_request(response.status_code)
        return response

    def sign(self) -> ResponseReturnValue:
        """Sign every digest of the batch, in order, or none."""
        entries = read_sign_request(_read_body())
        keys = find_signing_keys(self._keyring, entries)
        g.digests, g.key_identifiers = len(entries), sorted({key.identifier for key in keys})
        return jsonify(
            signatures=[
                {
                    "signatureHex": key.private_key.sign(entry.digest).hex(),
                    "pubKeyHex": key.private_key.public_key.to_hex(),
                }
                for key, entry in zip(keys, entries, strict=True)
            ]
        )

    def derive_secret(self) -> ResponseReturnValue:
        """Derive the shared secret of a login with the newest svd key."""
        derive = read_derive_request(_read_body())
        key = self._keyring.find_login_key()
        if key is None:
            raise UnknownKeyError("This signer has no key with the purpose svd.")
        g.key_identifiers = [key.identifier]
        secret = derive_shared_secret(key.private_key, derive.client_master_key, derive.challenge)
        return jsonify(sharedSecretHex=secret.hex(), kid=key.kid)

    def public_key(self) -> ResponseReturnValue:
        """Return the public half of a key."""
        identifier = request.args.get("keyIdentifier", "")
        if not identifier:
            raise RequestRefusedError("keyIdentifier must be in the query.")
        key = self._keyring.find(identifier)
        if key is None:
            raise UnknownKeyError("keyIdentifier names no key of this signer.")
        g.key_identifiers = [identifier]
        public_key = key.private_key.public_key
        return jsonify(
            keyIdentifier=identifier,
            compressedPubkeyHex=public_key.to_hex(),
            address=public_key.address(self._network),
            purposes=key.purpose_names,
        )

    def health(self) -> ResponseReturnValue:
        """Say that the keys are there: without them the service does not start."""
        return jsonify(status="ok", locked=False)

    def _is_authorised(self) -> bool:
        """Compare hashes in constant time, so that neither content nor length shows."""
        given = request.headers.get("x-api-key")
        if given is None:
            given = _bearer(request.headers.get("Authorization", ""))
        # Headers arrive as latin-1 text (PEP 3333); its bytes are what the caller sent.
        digest = hashlib.sha256(given.encode("latin-1", "replace")).digest()
        return hmac.compare_digest(digest, self._api_key_hash)


def _read_body() -> bytes:
    body = request.get_data()
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError(TOO_LARGE)
    return body


def _bearer(header: str) -> str:
    return header.removeprefix(BEARER) if header.startswith(BEARER) else ""


def _log_request(status: int) -> None:
    logs.log(
        logging.INFO if status < 500 else logging.ERROR,
        "request",
        request_id=g.request_id,
        method=request.method,
        path=request.path[:128],
        status=status,
        digests=g.digests,
        key_identifiers=g.key_identifiers,
        milliseconds=round((time.perf_counter() - g.started_at) * 1000, 1),
    )


def _refuse(error: RequestRefusedError) -> ResponseReturnValue:
    return jsonify(error=error.code, message=str(error)), error.status


def _refuse_http(error: HTTPException) -> ResponseReturnValue:
    if isinstance(error, RequestEntityTooLarge):
        return _refuse(TooLargeError(TOO_LARGE))
    code = error.name.lower().replace(" ", "_")
    return jsonify(error=code, message=error.description), error.code or 500


def _fail(error: Exception) -> ResponseReturnValue:
    logs.LOGGER.error("unexpected failure", exc_info=error)
    return jsonify(error="internal_error", message="The signer failed unexpectedly."), 500
