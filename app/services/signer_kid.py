"""The name of the signer's login key: the signer tells it, so that its rotation is seen."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from threading import Lock

from app import extensions
from app.bitcoin.keys import PrivateKey
from app.clients.outcomes import ClientError
from app.domain import svd
from app.domain.clock import utc_now
from app.errors import UnavailableError
from app.extensions import Extensions

logger = logging.getLogger(__name__)

UNNAMED = "svd-kms"
# The signer is asked at most this often, whoever asks here; a failure rests it as well.
_FRESH_SECONDS = 60.0
_REST_SECONDS = 5.0
_RETRY_SECONDS = 5


@dataclass
class _Reading:
    """What the signer of one process's services has said, and when to ask it again."""

    source: Extensions
    kid: str | None = None
    asks_again_at: float = float("-inf")


_lock = Lock()
_last: list[_Reading] = []


def active() -> str:
    """The name of the key that logins use now, at most a minute old.

    Raises:
        UnavailableError: the signer is away, has not told it to this process, and SVD_KMS_KID does
            not tell it either. Clients know the code of this one.
    """
    reading = _reading()
    if time.monotonic() >= reading.asks_again_at and _lock.acquire(blocking=reading.kid is None):
        try:
            _ask(reading)
        finally:
            _lock.release()
    kid = reading.kid or extensions.get().settings.svd_kms_kid
    if kid is None:
        raise UnavailableError(
            "nobody tells which key logins use: the signer does not answer",
            retry_after_seconds=_RETRY_SECONDS,
        )
    return kid


def known() -> str:
    """The name that was heard last in this process, or the one of the settings; asks nobody."""
    return _reading().kid or _named_here()


def note(kid: str | None) -> str:
    """Remembers what the signer called its key, None for nothing; answers the key's name."""
    reading = _reading()
    reading.kid = kid or _named_here()
    reading.asks_again_at = time.monotonic() + _FRESH_SECONDS
    return reading.kid


def _ask(reading: _Reading) -> None:
    """Has the signer derive a secret that nobody needs: its answer names the key."""
    if time.monotonic() < reading.asks_again_at:
        # Somebody else has asked while this caller waited.
        return
    current = extensions.get()
    try:
        note(
            current.kms.derive(
                svd.make_challenge(utc_now()),
                PrivateKey.generate().public_key,
                budget_seconds=current.settings.svd_kms_budget_ms / 1000,
            ).kid
        )
    except ClientError as error:
        reading.asks_again_at = time.monotonic() + _REST_SECONDS
        logger.warning(
            "the signer does not name its key: %s", error, extra={"event": "kid_unknown"}
        )


def _named_here() -> str:
    return extensions.get().settings.svd_kms_kid or UNNAMED


def _reading() -> _Reading:
    source = extensions.get()
    if not _last or _last[0].source is not source:
        _last[:] = [_Reading(source)]
    return _last[0]
