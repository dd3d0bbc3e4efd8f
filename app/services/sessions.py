"""Logging out: a token's `jti` is remembered as over until the token would have expired.

The memory is Redis alone. A Redis that lost its data knows nobody who logged out: such a token is
good again until its own end, 15 minutes after a login by key and a day after one by mail, and only
for whoever still has it. Where that is too long, change JWT_SECRET.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import redis

from app import extensions
from app.domain.canonical import sha256_hex
from app.domain.clock import utc_now
from app.errors import InvalidInputError, TokenRevokedError, UnavailableError
from app.services import subjects, tokens

_PREFIX = "session:over:"
_ERASED_PREFIX = "session:erased:"
# No token of ours lives longer; a secret that is shared may have signed one for a century.
_LONGEST_SECONDS = 366 * 24 * 60 * 60
_RETRY_SECONDS = 5


def authenticate(token: str, *, may_be_erased: bool = False) -> dict[str, Any]:
    """The claims of a token that is valid, whose holder has not logged out, and was not erased.

    `may_be_erased` lets those whose data was erased see how that went, with the token they have.
    A token without `jti` is not one of ours: nothing but its own end ends it, so nothing is asked.

    Raises:
        TokenExpiredError, TokenInvalidError, TokenBindingError: see `tokens.verify`.
        TokenRevokedError: its holder has logged out, or had their data erased.
        UnavailableError: Redis is away, so nobody knows.
    """
    claims = tokens.verify(token)
    if claims.get("jti") is None:
        return claims
    is_over, erased_at = _look_up(claims)
    if is_over:
        raise TokenRevokedError("the holder of this token has logged out")
    if not may_be_erased and erased_at is not None and subjects.issue_time(claims) <= erased_at:
        raise TokenRevokedError("the data of this token's holder was erased, and the login with it")
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


def end_all(subject_digest: str, moment: datetime) -> None:
    """Ends every token that a subject, by its digest, has got up to a moment.

    Raises:
        UnavailableError: Redis is away; they are still good.
    """
    mark = int(moment.timestamp())
    try:
        extensions.get().redis.set(_ERASED_PREFIX + subject_digest, mark, ex=_LONGEST_SECONDS)
    except redis.RedisError as error:
        raise _unavailable() from error


def _look_up(claims: Mapping[str, Any]) -> tuple[bool, int | None]:
    """Whether this token is over, and up to which second all tokens of its subject are."""
    keys = [_key(claims["jti"]), _ERASED_PREFIX + subjects.digest(str(claims.get("sub")))]
    try:
        # Redis types this for synchronous and asynchronous clients alike.
        found: Any = extensions.get().redis.mget(keys)
    except redis.RedisError as error:
        raise _unavailable() from error
    is_over, erased_at = found
    return is_over is not None, None if erased_at is None else int(erased_at)


def _unavailable() -> UnavailableError:
    return UnavailableError(
        "whether this token is still good can't be told at the moment; try again",
        retry_after_seconds=_RETRY_SECONDS,
    )


def _key(token_id: str) -> str:
    # Hashed, so that a key is as long as any other.
    return _PREFIX + sha256_hex(token_id.encode())
