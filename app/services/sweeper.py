"""Drives every record and transaction whose time has come: queues only make it faster.

Whatever a dead process left behind is found here, by `next_attempt_at`, and taken one step on.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from app import extensions, measures
from app.domain.clock import utc_now
from app.domain.states import TRANSACTION_DEAD, TransactionStatus
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.services import (
    anchoring,
    commitment,
    contradiction,
    delivery,
    settlement,
    unwinding,
)

logger = logging.getLogger(__name__)

_LIMIT = 500


@dataclass(frozen=True)
class SweepReport:
    """How many things a sweep took a step on."""

    unwound: int
    settled: int
    committed: int
    delivered: int
    claims_freed: int
    anchored: int

    @property
    def is_empty(self) -> bool:
        return not any(asdict(self).values())


def sweep() -> SweepReport:
    """Takes every unfinished record and transaction one step on; oldest promises first."""
    now = utc_now()
    report = SweepReport(
        unwound=_unwind_dead(now),
        settled=_settle_accepted(now),
        committed=_commit_signed(now),
        delivered=_deliver_committed(now),
        claims_freed=_free_old_claims(now),
        anchored=anchoring.anchor_due(extensions.get().settings.anchor_batch_size).claimed,
    )
    for step, number in asdict(report).items():
        measures.SWEPT.add(step, amount=number)
    if not report.is_empty:
        logger.info("sweep", extra={"event": "sweep", **asdict(report)})
    return report


def _unwind_dead(now: datetime) -> int:
    dead = ChainTransaction.list_due(list(TRANSACTION_DEAD), now, _LIMIT)
    for transaction in dead:
        if transaction.status == TransactionStatus.CONTRADICTED:
            contradiction.undo(transaction)
        else:
            unwinding.unwind(transaction)
    return len(dead)


def _settle_accepted(now: datetime) -> int:
    unsettled = ChainTransaction.list_due(
        [TransactionStatus.ACCEPTED], now, _LIMIT, is_settled=False
    )
    settlement.settle(unsettled)
    return len(unsettled)


def _commit_signed(now: datetime) -> int:
    signed = ChainTransaction.list_due([TransactionStatus.SIGNED], now, _LIMIT)
    if signed:
        delivery.deliver(commitment.commit(signed))
    return len(signed)


def _deliver_committed(now: datetime) -> int:
    committed = ChainTransaction.list_due([TransactionStatus.COMMITTED], now, _LIMIT)
    delivery.deliver_again(committed)
    return len(committed)


def _free_old_claims(now: datetime) -> int:
    """Frees claims older than the lease whose transaction was never stored."""
    lease = timedelta(seconds=extensions.get().settings.claim_lease_seconds)
    old = AuthenticationRecord.list_old_claims(now, now - lease)
    stored = ChainTransaction.existing_ids([record.transaction_id for record in old])
    orphaned = [record for record in old if record.transaction_id not in stored]
    if orphaned:
        AuthenticationRecord.release_claims(
            [record.transaction_id for record in orphaned],
            reason="whoever claimed it did not finish",
            next_attempt_at=now,
        )
    return len(orphaned)
