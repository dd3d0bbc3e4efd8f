"""Hands committed transactions to the network and takes its verdict.

Every answer that proves nothing leaves everything as it is: the same bytes go out again later.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta

from app import extensions
from app.clients.outcomes import BroadcastOutcome, BroadcastStatus, ServiceUnavailableError
from app.domain.backoff import backoff
from app.domain.clock import utc_now
from app.domain.states import TransactionStatus
from app.logs import chain_event
from app.models.transaction import ChainTransaction
from app.services import evidence, settlement, unwinding

logger = logging.getLogger(__name__)

_CLAIMS = frozenset({BroadcastStatus.MISSING_INPUTS, BroadcastStatus.CONFLICT})
_NEVER_VALID = frozenset({BroadcastStatus.INVALID, BroadcastStatus.FEE_TOO_LOW})


def deliver(transactions: Sequence[ChainTransaction]) -> list[ChainTransaction]:
    """Broadcasts committed transactions, settles what was accepted; answers those accepted."""
    chain = extensions.get().chain
    accepted = []
    for transaction in transactions:
        outcome = chain.broadcast(transaction.raw_tx_hex, transaction.txid)
        _log(transaction, outcome)
        if outcome.is_success or _is_proven_known(transaction, outcome):
            accepted.append(transaction)
    settlement.accept(accepted)
    return accepted


def _is_proven_known(transaction: ChainTransaction, outcome: BroadcastOutcome) -> bool:
    """Draws the consequence of an answer that is no success; tells whether it was one after all."""
    if outcome.status in _NEVER_VALID:
        _reject(transaction, outcome.reason, {})
        return False
    if outcome.status not in _CLAIMS:
        _wait(transaction, outcome)
        return False
    try:
        shown = evidence.gather(transaction)
    except ServiceUnavailableError as error:
        logger.warning("no evidence: %s", error, extra=chain_event("sent", transaction.txid))
        _wait(transaction, outcome)
        return False
    if shown.spent_elsewhere:
        _reject(transaction, outcome.reason, shown.spent_elsewhere)
    elif not shown.is_known:
        _wait(transaction, outcome)
    return shown.is_known


def _wait(transaction: ChainTransaction, outcome: BroadcastOutcome) -> None:
    delay = backoff(transaction.attempts, base_seconds=2, cap_seconds=300)
    if outcome.retry_after_seconds is not None:
        delay = max(delay, timedelta(seconds=min(outcome.retry_after_seconds, 600)))
    ChainTransaction.postpone(
        transaction.id,
        status=TransactionStatus.COMMITTED.value,
        next_attempt_at=utc_now() + delay,
        reason=outcome.reason,
    )


def _reject(transaction: ChainTransaction, reason: str, conflicts: Mapping[str, str]) -> None:
    rejected = ChainTransaction.reject(transaction.id, reason=reason, conflicts=conflicts)
    if rejected is not None:
        logger.warning(
            "transaction rejected: %s",
            reason,
            extra=chain_event(
                "rejected",
                transaction.txid,
                reason=reason,
                spent_elsewhere=dict(conflicts),
                request_ids=list(transaction.request_ids),
            ),
        )
        unwinding.unwind(rejected)


def _log(transaction: ChainTransaction, outcome: BroadcastOutcome) -> None:
    logger.info(
        "transaction sent: %s",
        outcome.status.value,
        extra=chain_event(
            "accepted" if outcome.is_success else "sent",
            transaction.txid,
            outcome=outcome.status.value,
            reason=outcome.reason,
            tries=transaction.attempts + 1,
            request_ids=list(transaction.request_ids),
        ),
    )
