"""API keys: the one of the environment and those that operators make, with scopes and an end."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

from pymongo.errors import PyMongoError

from app import extensions, logs
from app.config import SettingsError
from app.domain.api_keys import KeyText, Scope
from app.domain.clock import utc_now
from app.errors import (
    ConflictError,
    InsufficientScopeError,
    InvalidInputError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from app.models.api_key import ApiKey, DuplicateApiKeyError

logger = logging.getLogger(__name__)

STATIC_NAME = "API_KEY"
# A use is noted at most this often for each key.
_USE_NOTED_EVERY = timedelta(minutes=1)
_RETRY_SECONDS = 5
# Compared where no key has the prefix, so that this costs what a wrong secret costs.
_NOBODYS_HASH = sha256(b"nobody's").hexdigest()
_MOST_CANDIDATES = 5
MAX_LIFETIME = timedelta(days=3650)
# It stands in every request's line of the log, so it has room for no address and no markup.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


class KeyState(StrEnum):
    LIVE = "live"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class KeyIdentity:
    """Whose key it is. The key of the environment has no prefix and every scope."""

    name: str
    prefix: str | None
    scopes: Collection[str]

    def require(self, scope: Scope) -> None:
        """Refuses a key that does not open this.

        Raises:
            InsufficientScopeError: it lacks the scope.
        """
        if scope not in self.scopes:
            raise InsufficientScopeError(f"this API key lacks the scope {scope}")


@dataclass(frozen=True)
class KeyFacts:
    """What is known of a key. Times are UTC; None where something has not happened or never will.

    `unused_since` is its last use, or its making where there was none.
    """

    prefix: str
    name: str
    scopes: Sequence[str]
    state: KeyState
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    rotated_from: str | None

    @property
    def unused_since(self) -> datetime:
        return self.last_used_at or self.created_at


@dataclass(frozen=True)
class NewKey:
    """A key that was made just now; its text exists nowhere else."""

    facts: KeyFacts
    text: str = field(repr=False)


def authenticate(given: bytes) -> KeyIdentity:
    """Tells whose key these bytes of a request are.

    The database is asked each time, and nothing is remembered: a key that was revoked fails with
    the next request in every process.

    Raises:
        UnauthorizedError: they are no key, or one that has ended.
        UnavailableError: the database, which knows, is away.
    """
    if _is_static(given):
        return KeyIdentity(STATIC_NAME, None, tuple(Scope))
    key = KeyText.parse(given)
    if key is None:
        raise _refusal()
    row = _find_row(key.prefix)
    expected = _NOBODYS_HASH if row is None else str(row["secret_hash"])
    if not hmac.compare_digest(key.hash_hex, expected) or row is None:
        raise _refusal()
    now = utc_now()
    _check_is_live(row, now)
    _note_use(row, now)
    return KeyIdentity(row["name"], key.prefix, row["scopes"])


def create(name: str, scopes: Collection[Scope], lifetime: timedelta | None = None) -> NewKey:
    """Makes a key that works from now on, for ever where `lifetime` is None."""
    return _insert(name, scopes, lifetime, rotated_from=None)


def rotate(prefix: str, grace: timedelta, lifetime: timedelta | None = None) -> NewKey:
    """Makes a successor with the same name and scopes, and lets the key end after `grace`.

    Without grace the key is revoked. The successor lives as long as the key was meant to, or for
    `lifetime`.

    Raises:
        NotFoundError: no key has this prefix.
        ConflictError: it has ended, or has a successor.
        InvalidInputError: `grace` or `lifetime` is negative or above MAX_LIFETIME.
    """
    if not timedelta(0) <= grace <= MAX_LIFETIME:
        raise InvalidInputError.for_field("grace", f"0 to {MAX_LIFETIME.days} days")
    old = get_key(prefix)
    if old.state is not KeyState.LIVE:
        raise ConflictError(f"the key {prefix} is {old.state}: create a new one")
    if lifetime is None and old.expires_at is not None:
        lifetime = old.expires_at - old.created_at
    # A scope that this version does not know opens nothing here.
    scopes = [scope for scope in Scope if scope in old.scopes]
    new = _insert(old.name, scopes, lifetime, rotated_from=prefix)
    now = utc_now()
    if not (ApiKey.shorten(prefix, now, now + grace) if grace else ApiKey.revoke(prefix, now)):
        # Whoever ended it meanwhile wants it to have no heir. Nobody has seen the new text.
        ApiKey.revoke(new.facts.prefix, now)
        raise ConflictError(f"the key {prefix} has ended meanwhile: create a new one")
    return new


def revoke(prefix: str) -> bool:
    """Ends a key at once and for good; False where it was revoked already.

    Raises:
        NotFoundError: no key has this prefix.
    """
    get_key(prefix)
    return ApiKey.revoke(prefix, utc_now())


def get_key(prefix: str) -> KeyFacts:
    """What is known of the key with this prefix.

    Raises:
        NotFoundError: there is none.
    """
    found = ApiKey.find(prefix)
    if found is None:
        raise NotFoundError(f"no key has the prefix {prefix}")
    return _facts(found, utc_now())


def find_prefix(beginning: str) -> str:
    """The prefix that begins so.

    Raises:
        NotFoundError: no prefix does.
        ConflictError: several do.
    """
    found = ApiKey.list_beginning_with(beginning, _MOST_CANDIDATES)
    prefixes = [str(key.prefix) for key in found]
    if not prefixes:
        raise NotFoundError(
            f"no key has a prefix that begins with {beginning}; manage.py keys list shows all"
        )
    if len(prefixes) > 1:
        raise ConflictError(f"{beginning} may be {' or '.join(prefixes)}: give more of it")
    return prefixes[0]


def list_keys() -> list[KeyFacts]:
    """Lists every key that was ever made, the oldest first."""
    now = utc_now()
    return [_facts(key, now) for key in ApiKey.list_all()]


def has_live_key() -> bool:
    """Tells whether a key of the database works now."""
    return ApiKey.has_live(utc_now())


def require_any() -> None:
    """Refuses to start a service that could let nobody in.

    A database that is away is waited for, as everywhere: a start then goes on, with a warning.

    Raises:
        SettingsError: API_KEY is not set, and no key of the database works.
    """
    if extensions.get().settings.api_key is not None:
        return
    try:
        if has_live_key():
            return
    except PyMongoError as error:
        logger.warning(
            "the database does not tell whether there is an API key: %s",
            logs.strip_credentials(str(error)).split(", Timeout")[0],
            extra={"event": "api_key.not_checked"},
        )
        return
    raise SettingsError(
        "there is no API key: set API_KEY, or make one with "
        "`manage.py keys create --name NAME --scope patches:write`"
    )


def _is_static(given: bytes) -> bool:
    key = extensions.get().settings.api_key
    if key is None:
        return False
    # Of equal length, so that time tells nothing of the key's.
    expected = sha256(key.get_secret_value().encode()).digest()
    return hmac.compare_digest(sha256(given).digest(), expected)


def _find_row(prefix: str) -> Mapping[str, Any] | None:
    try:
        return ApiKey.find_row(prefix)
    except PyMongoError as error:
        raise UnavailableError(
            "API keys can't be checked at the moment; the same request may work later",
            retry_after_seconds=_RETRY_SECONDS,
        ) from error


def _refusal() -> UnauthorizedError:
    return UnauthorizedError("the header x-api-key is missing or wrong")


def _check_is_live(row: Mapping[str, Any], now: datetime) -> None:
    state = _state(row.get("expires_at"), row.get("revoked_at"), now)
    if state is KeyState.LIVE:
        return
    # Who held it may still use it: the operator wants to know where.
    logger.warning(
        "an API key that has ended was used",
        extra={
            "event": "api_key.ended",
            "key_prefix": row["_id"],
            "key_name": row["name"],
            "state": state.value,
        },
    )
    raise UnauthorizedError(f"this API key is {state}")


def _state(expires_at: datetime | None, revoked_at: datetime | None, now: datetime) -> KeyState:
    if revoked_at is not None:
        return KeyState.REVOKED
    return KeyState.EXPIRED if expires_at is not None and expires_at <= now else KeyState.LIVE


def _note_use(row: Mapping[str, Any], now: datetime) -> None:
    noted_at, unless_since = row.get("last_used_at"), now - _USE_NOTED_EVERY
    if noted_at is not None and noted_at > unless_since:
        return
    try:
        ApiKey.touch(row["_id"], now, unless_since)
    except PyMongoError as error:
        # The key is good; that it was used is told again within a minute.
        logger.warning("the use of an API key was not noted: %s", type(error).__name__)


def _insert(
    name: str, scopes: Collection[Scope], lifetime: timedelta | None, rotated_from: str | None
) -> NewKey:
    _check(name, scopes, lifetime)
    text, now = KeyText.generate(), utc_now()
    key = ApiKey(
        prefix=text.prefix,
        secret_hash=text.hash_hex,
        name=name,
        scopes=[scope.value for scope in Scope if scope in scopes],
        created_at=now,
        expires_at=None if lifetime is None else now + lifetime,
        rotated_from=rotated_from,
    )
    try:
        key.insert()
    except DuplicateApiKeyError as error:
        raise ConflictError(
            f"the key {rotated_from} has a successor already: rotate or revoke that one"
            if rotated_from
            else "another key has the same prefix: try again"
        ) from error
    return NewKey(_facts(key, now), text.text)


def _check(name: str, scopes: Collection[Scope], lifetime: timedelta | None) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInputError.for_field(
            "name", "1 to 64 letters, digits, spaces, dots, dashes and underscores"
        )
    if not scopes:
        raise InvalidInputError.for_field("scope", f"one or more of {', '.join(Scope)}")
    if lifetime is not None and not timedelta(0) < lifetime <= MAX_LIFETIME:
        raise InvalidInputError.for_field("expires_in", f"up to {MAX_LIFETIME.days} days")


def _facts(key: ApiKey, now: datetime) -> KeyFacts:
    return KeyFacts(
        prefix=key.prefix,
        name=key.name,
        scopes=tuple(key.scopes),
        state=_state(key.expires_at, key.revoked_at, now),
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
        rotated_from=key.rotated_from,
    )
