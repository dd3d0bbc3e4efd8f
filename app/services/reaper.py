"""Frees locked outputs whose lease is over and that no transaction holds.

A held output is never touched here, however old: only the verdict on its transaction frees it. Nor
is one whose transaction is stored: the sweeper commits that or abandons it. Freed before, the same
output would make the same split again, byte for byte, beside the stored one.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from app import extensions
from app.domain.clock import utc_now
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo

logger = logging.getLogger(__name__)


def list_expired(*, age_minutes: int | None = None, limit: int | None = None) -> list[Utxo]:
    """Lists abandoned locks: not held, of no stored transaction, older than `age_minutes`.

    Never younger than the lease; by default UTXO_REAPER_MINUTES, else the lease, and
    UTXO_REAPER_BATCH_LIMIT.
    """
    expired = Utxo.list_expired_locks(
        _locked_before(age_minutes), limit or extensions.get().settings.utxo_reaper_batch_limit
    )
    stored = ChainTransaction.existing_ids(list({utxo.lock_id for utxo in expired}))
    return [utxo for utxo in expired if utxo.lock_id not in stored]


def reap(*, age_minutes: int | None = None, limit: int | None = None) -> int:
    """Frees abandoned locks, each by compare-and-set; answers how many."""
    locked_before = _locked_before(age_minutes)
    freed = [
        utxo.outpoint
        for utxo in list_expired(age_minutes=age_minutes, limit=limit)
        if Utxo.release_expired(utxo.outpoint, utxo.lock_id, locked_before)
    ]
    if freed:
        logger.info("locks reaped", extra={"event": "pool.reaped", "outpoints": freed})
    return len(freed)


def _locked_before(age_minutes: int | None) -> datetime:
    settings = extensions.get().settings
    lease = timedelta(seconds=settings.claim_lease_seconds)
    minutes = age_minutes or settings.utxo_reaper_minutes
    return utc_now() - max(lease, timedelta(minutes=minutes or 0))
