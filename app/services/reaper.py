"""Frees locked outputs whose lease is over and that no transaction holds.

A held output is never touched here, however old: only the verdict on its transaction frees it.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from app import extensions
from app.domain.clock import utc_now
from app.models.utxo import Utxo

logger = logging.getLogger(__name__)

_LIMIT = 500


def reap() -> int:
    """Frees abandoned locks, each by compare-and-set; answers how many."""
    lease = timedelta(seconds=extensions.get().settings.claim_lease_seconds)
    expired_before = utc_now() - lease
    freed = [
        utxo.outpoint
        for utxo in Utxo.list_expired_locks(expired_before, _LIMIT)
        if Utxo.release_expired(utxo.outpoint, utxo.lock_id, expired_before)
    ]
    if freed:
        logger.info("locks reaped", extra={"event": "pool.reaped", "outpoints": freed})
    return len(freed)
