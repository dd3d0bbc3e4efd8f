"""Logging out: a token's `jti` is remembered as over until the token would have expired.

The memory is Redis alone. A Redis that lost its data knows nobody who logged out: such a token is
good again until its own end, 15 minutes after a login by key and a day after one by mail, and only
for whoever still has it. Where that is too long, change JWT_SECRET.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

from app import extensions
from app.domain.canonical import sha256_hex
from app.domain.clock import utc_now
from app.errors import InvalidInputError, TokenRevokedError, UnavailableError
from app.services import tokens

_PREFIX = "session:over:"
# No token of ours lives longer; a secret that is shared may have signed one for a century.
_LONGEST_SECONDS = 366 * 24 * 60 * 60
_RETRY_SECONDS = 5


def authenticate(token: str) -> dict[str, Any]:
    """The claims of a token that is valid and whose holder has not logged out.

    Raises:
        TokenExpiredError, TokenInvalidError, TokenBindingError: see `tokens.verify`.
        TokenRevokedError: its holder has logged out.
        UnavailableError: Redis is away, so nobody knows.
    """
    claims = tokens.verify(token)
    token_id = claims.get("jti")
    if token_id is not None and _is_over(token_id):
        raise TokenRevokedError("the holder of this token has logged out")
    return claims


def end(claims: Mapping[str, Any]) -> None:
    """Logs the holder of a verified token out; a second time changes nothing.

    Raises:
        InvalidInputError: the token has no `jti`, so only its own end ends it.
        UnavailableError: Redis is away; the token is still good.
    """
    if claims.get("jti") is None:
        raise InvalidInputError("this token has no jti and can't be logged out; it ends at its exp")
    # A second more than is left: a token is good until the very second of its `exp`.
    left = int(claims["exp"]) - int(utc_now().timestamp()) + 1
    try:
        extensions.get().redis.set(_key(claims["jti"]), "1", ex=max(1, min(left, _LONGEST_SECONDS)))
    except redis.RedisError as error:
        raise _unavailable() from error


def _is_over(token_id: str) -> bool:
    try:
        return bool(extensions.get().redis.exists(_key(token_id)))
    except redis.RedisError as error:
        raise _unavailable() from error


def _unavailable() -> UnavailableError:
    return UnavailableError(
        "whether this token is still good can't be told at the moment; try again",
        retry_after_seconds=_RETRY_SECONDS,
    )


def _key(token_id: str) -> str:
    # Hashed, so that a key is as long as any other.
    return _PREFIX + sha256_hex(token_id.encode())
