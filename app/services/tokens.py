"""Bearer tokens: HS256 with one secret, two while it is being changed."""

from __future__ import annotations

import re
from typing import Any

import jwt

from app import extensions
from app.domain.clock import utc_now
from app.errors import TokenBindingError, TokenExpiredError, TokenInvalidError

DEFAULT_TTL_SECONDS = 900
_ALGORITHM = "HS256"
_HEX_64 = re.compile(r"[0-9a-fA-F]{64}")


def issue(user: str, ttl_seconds: int = DEFAULT_TTL_SECONDS) -> str:
    """A token for a user that is good from now on, for `ttl_seconds`."""
    settings = extensions.get().settings
    now = int(utc_now().timestamp())
    claims = {
        "sub": user,
        "iat": now,
        "nbf": now - settings.svd_clock_skew_sec,
        "exp": now + ttl_seconds,
    }
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm=_ALGORITHM)


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
