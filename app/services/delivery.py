"""Hands committed transactions to the network and takes its verdict.

Every answer that proves nothing leaves everything as it is: the same bytes go out again later.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta

from bson import ObjectId

from app import extensions
from app.clients.broadcasting import RawTransaction
from app.clients.outcomes import BroadcastOutcome, BroadcastStatus, ServiceUnavailableError
from app.domain.backoff import backoff
from app.domain.clock import utc_now
from app.domain.states import TransactionStatus
from app.logs import chain_event
from app.models.transaction import ChainTransaction
from app.services import evidence, settlement, unwinding

logger = logging.getLogger(__name__)

_NEVER_VALID = frozenset({BroadcastStatus.INVALID, BroadcastStatus.FEE_TOO_LOW})
_LONGEST_WISH_SECONDS = 600
_PORTION_SECONDS = 3


def deliver(transactions: Sequence[ChainTransaction]) -> list[ChainTransaction]:
    """Broadcasts committed transactions, settles what was accepted; answers those accepted.

    In portions, so that the first need not wait for the last where they go out at a pace.
    """
    portion = _portion_size(len(transactions))
    return [
        transaction
        for start in range(0, len(transactions), portion)
        for transaction in _deliver_portion(transactions[start : start + portion])
    ]


def _portion_size(count: int) -> int:
    """All at once where nothing holds them up, else what goes out in a few seconds."""
    current = extensions.get()
    pace = current.settings.chain_requests_per_second
    if current.broadcaster.batch_size > 1 or not pace:
        return max(count, 1)
    return math.ceil(pace * _PORTION_SECONDS)


def _deliver_portion(transactions: Sequence[ChainTransaction]) -> list[ChainTransaction]:
    accepted: list[ChainTransaction] = []
    left = transactions
    while left:
        outcomes = send(left)
        arrived = _list_arrived(left, outcomes)
        again = []
        for transaction in left:
            outcome = outcomes[transaction.txid]
            _log(transaction, outcome)
            if transaction.id in arrived or outcome.is_success:
                accepted.append(transaction)
            elif arrived and _is_held_back(outcome):
                # What kept it from being sent was a circuit that is closed again by now.
                again.append(transaction)
            elif _is_known_after_all(transaction, outcome):
                accepted.append(transaction)
        left = again
    settlement.accept(accepted)
    return accepted


def _list_arrived(
    transactions: Sequence[ChainTransaction], outcomes: Mapping[str, BroadcastOutcome]
) -> set[ObjectId]:
    """Asks about those that were sent and never answered; answers which the network has.

    A service that took one and lost the answer does work, so its circuit is closed.
    """
    silent = [t for t in transactions if _is_silent(outcomes[t.txid])]
    arrived = _list_known(silent)
    for transaction in silent:
        if transaction.id in arrived:
            _log_found(transaction)
            extensions.get().broadcaster.note_arrival(outcomes[transaction.txid].service)
    return arrived


def _is_silent(outcome: BroadcastOutcome) -> bool:
    return outcome.is_outage and not _is_held_back(outcome)


def _is_held_back(outcome: BroadcastOutcome) -> bool:
    """By our own pace or circuit: it was not sent, which is no try."""
    return outcome.was_refused and outcome.http_status is None


def deliver_again(transactions: Sequence[ChainTransaction]) -> list[ChainTransaction]:
    """Settles those that the network turns out to have, and broadcasts the others once more.

    Asking first is cheaper than sending, and works while a broadcaster is left alone.
    """
    known = _list_known(transactions)
    found = [transaction for transaction in transactions if transaction.id in known]
    for transaction in found:
        _log_found(transaction)
    settlement.accept(found)
    return deliver([transaction for transaction in transactions if transaction.id not in known])


def _list_known(transactions: Sequence[ChainTransaction]) -> set[ObjectId]:
    if not transactions:
        return set()
    try:
        statuses = extensions.get().chain.list_transaction_statuses([t.txid for t in transactions])
    except ServiceUnavailableError as error:
        logger.warning("the chain can't be asked: %s", error, extra={"event": "chain.unavailable"})
        return set()
    return {
        transaction.id
        for transaction in transactions
        if (status := statuses.get(transaction.txid)) is not None and status.kind != "unknown"
    }


def send(transactions: Sequence[ChainTransaction]) -> Mapping[str, BroadcastOutcome]:
    """Sends the bytes of transactions, many in a call where a service can; one outcome a txid."""
    current = extensions.get()
    wants_extended = "arc" in current.settings.broadcasters
    return current.broadcaster.broadcast(
        RawTransaction(
            transaction.txid,
            transaction.raw_tx_hex,
            transaction.extended_tx_hex if wants_extended else None,
        )
        for transaction in transactions
    )


def _is_known_after_all(transaction: ChainTransaction, outcome: BroadcastOutcome) -> bool:
    """Draws the consequence of an answer that is no success; tells whether it was one after all.

    Whatever is called a conflict, missing or invalid may have been accepted by an earlier try whose
    answer was lost, so the chain is asked before anything is undone.
    """
    if outcome.status is BroadcastStatus.UNKNOWN:
        _wait(transaction, outcome)
        return False
    try:
        shown = evidence.gather(transaction)
    except ServiceUnavailableError as error:
        logger.warning("no evidence: %s", error, extra=chain_event("sent", transaction.txid))
        _wait(transaction, outcome)
        return False
    if shown.is_known:
        _log_found(transaction)
        return True
    if shown.spent_elsewhere or outcome.status in _NEVER_VALID:
        _reject(transaction, outcome, shown.spent_elsewhere)
    else:
        _wait(transaction, outcome)
    return False


def _wait(transaction: ChainTransaction, outcome: BroadcastOutcome) -> None:
    # What was held back goes out soon after the service is back.
    is_try = not _is_held_back(outcome)
    tries = transaction.attempts if is_try else 0
    delay = backoff(tries, base_seconds=2, cap_seconds=300)
    if outcome.retry_after_seconds is not None:
        wish = min(outcome.retry_after_seconds, _LONGEST_WISH_SECONDS)
        delay = max(delay, timedelta(seconds=wish))
    ChainTransaction.postpone(
        transaction.id,
        status=TransactionStatus.COMMITTED.value,
        next_attempt_at=utc_now() + delay,
        reason=outcome.reason,
        is_try=is_try,
    )


def _reject(
    transaction: ChainTransaction, outcome: BroadcastOutcome, conflicts: Mapping[str, str]
) -> None:
    reason = outcome.reason
    rejected = ChainTransaction.reject(
        transaction.id,
        reason=reason,
        conflicts=conflicts,
        is_underpaid=outcome.status is BroadcastStatus.FEE_TOO_LOW and not conflicts,
    )
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


def _log_found(transaction: ChainTransaction) -> None:
    logger.info(
        "transaction is known to the network already",
        extra=chain_event(
            "accepted",
            transaction.txid,
            outcome="found",
            request_ids=list(transaction.request_ids),
        ),
    )


def _log(transaction: ChainTransaction, outcome: BroadcastOutcome) -> None:
    logger.info(
        "transaction sent: %s",
        outcome.status.value,
        extra=chain_event(
            "accepted" if outcome.is_success else "sent",
            transaction.txid,
            outcome=outcome.status.value,
            service=outcome.service,
            reason=outcome.reason,
            tries=transaction.attempts + 1,
            request_ids=list(transaction.request_ids),
        ),
    )
