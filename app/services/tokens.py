"""Bearer tokens: HS256 with one secret, two while it is being changed."""

from __future__ import annotations

import re
import secrets
from typing import Any

import jwt

from app import extensions
from app.domain.clock import utc_now
from app.errors import TokenBindingError, TokenExpiredError, TokenInvalidError

DEFAULT_TTL_SECONDS = 900
EMAIL_TTL_SECONDS = 24 * 60 * 60
AUDIENCE = "patchproof:api"
ISSUER = "patchproof:auth-service"
_ALGORITHM = "HS256"
_HEX_64 = re.compile(r"[0-9a-fA-F]{64}")


def issue(user: str, ttl_seconds: int = DEFAULT_TTL_SECONDS) -> str:
    """A token for a user that is good from now on, for `ttl_seconds`."""
    return _sign({"sub": user, "jti": _random_id()}, ttl_seconds)


def issue_svd(user_id: str, *, challenge_sha256: str, proof: str, kid: str) -> str:
    """A token of a login by key; `user_id` as the client spells it, both values in hex.

    Its `jti` is the hash of the challenge, so one challenge names one token.
    """
    confirmation = {"msha256": challenge_sha256, "svd_proof": proof}
    claims = {"sub": user_id, "jti": challenge_sha256, "cnf": confirmation}
    return _sign(claims, DEFAULT_TTL_SECONDS, headers={"kid": kid})


def issue_email(email: str) -> str:
    """A token of a login by a code that was mailed, good for a day."""
    claims = {"sub": email, "aud": AUDIENCE, "iss": ISSUER, "jti": _random_id()}
    return _sign(claims, EMAIL_TTL_SECONDS)


def _random_id() -> str:
    return secrets.token_hex(16)


def _sign(claims: dict[str, Any], ttl_seconds: int, headers: dict[str, str] | None = None) -> str:
    settings = extensions.get().settings
    now = int(utc_now().timestamp())
    times = {"iat": now, "nbf": now - settings.svd_clock_skew_sec, "exp": now + ttl_seconds}
    secret = settings.jwt_secret.get_secret_value()
    return jwt.encode(claims | times, secret, algorithm=_ALGORITHM, headers=headers)


def verify(token: str) -> dict[str, Any]:
    """The claims of a token that this service, or one with its secret, has signed.

    Raises:
        TokenExpiredError: its time is over.
        TokenInvalidError: another algorithm or secret, not yet valid, without `exp`, no token.
        TokenBindingError: it names a login challenge in `cnf.msha256` that is not its `jti`.
    """
    try:
        claims = _decode(token)
    except jwt.ExpiredSignatureError:
        raise TokenExpiredError("the token has expired") from None
    except jwt.InvalidTokenError:
        raise TokenInvalidError("the token is not valid") from None
    _check_binding(claims)
    return claims


def _decode(token: str) -> dict[str, Any]:
    settings = extensions.get().settings
    try:
        return _decode_with(settings.jwt_secret.get_secret_value(), token)
    except jwt.InvalidSignatureError:
        if settings.jwt_secret_previous is None:
            raise
        return _decode_with(settings.jwt_secret_previous.get_secret_value(), token)


def _decode_with(secret: str, token: str) -> dict[str, Any]:
    return jwt.decode(
        token,
        secret,
        algorithms=[_ALGORITHM],
        # The contract's two kinds of tokens name different audiences; routes that care ask.
        options={"require": ["exp"], "verify_aud": False},
    )


def _check_binding(claims: dict[str, Any]) -> None:
    confirmation = claims.get("cnf")
    if not isinstance(confirmation, dict) or "msha256" not in confirmation:
        return
    challenge, token_id = str(confirmation["msha256"]), str(claims.get("jti"))
    if not _HEX_64.fullmatch(challenge) or challenge.lower() != token_id.lower():
        raise TokenBindingError("the token is not bound to its login challenge")
