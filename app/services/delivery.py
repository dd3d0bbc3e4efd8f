"""Hands committed transactions to the network and takes its verdict.

Every answer that proves nothing leaves everything as it is: the same bytes go out again later.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

from bson import ObjectId

from app import extensions
from app.clients.broadcasting import RawTransaction
from app.clients.outcomes import BroadcastOutcome, BroadcastStatus, ServiceUnavailableError
from app.domain.backoff import backoff
from app.domain.clock import utc_now
from app.domain.states import TransactionStatus
from app.logs import chain_event
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.services import evidence, raising, settlement, unwinding

logger = logging.getLogger(__name__)

_NEVER_VALID = frozenset({BroadcastStatus.INVALID, BroadcastStatus.FEE_TOO_LOW})
_NONE: Mapping[str, str] = MappingProxyType({})
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
        accepted += arrived.values()
        again, underpaid = [], []
        for transaction in left:
            outcome = outcomes[transaction.txid]
            _log(transaction, outcome)
            if transaction.id in arrived:
                continue
            if outcome.is_success:
                accepted.append(transaction)
            elif arrived and _is_held_back(outcome):
                # What kept it from being sent was a circuit that is closed again by now.
                again.append(transaction)
            else:
                verdict, found = _judge(transaction, outcome)
                accepted += [found] if found is not None else []
                underpaid += [transaction] if verdict is _Verdict.UNDERPAID else []
        again += _pay_more(underpaid, outcomes)
        left = again
    settlement.accept(accepted)
    return accepted


def _list_arrived(
    transactions: Sequence[ChainTransaction], outcomes: Mapping[str, BroadcastOutcome]
) -> dict[ObjectId, ChainTransaction]:
    """Asks about those that were sent and never answered; answers those that the network has.

    A service that took one and lost the answer does work, so its circuit is closed.
    """
    silent = {t.id: outcomes[t.txid].service for t in transactions if _is_silent(outcomes[t.txid])}
    arrived = _list_known([t for t in transactions if t.id in silent])
    for transaction in arrived.values():
        extensions.get().broadcaster.note_arrival(silent[transaction.id])
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
    AuthenticationRecord.rename_each([t for t in transactions if t.earlier])
    known = _list_known(transactions)
    settlement.accept(list(known.values()))
    return deliver([transaction for transaction in transactions if transaction.id not in known])


def _list_known(transactions: Sequence[ChainTransaction]) -> dict[ObjectId, ChainTransaction]:
    """Those that the network has, with the bytes that it has, by id."""
    try:
        known = evidence.find_known(transactions)
    except ServiceUnavailableError as error:
        logger.warning("the chain can't be asked: %s", error, extra={"event": "chain.unavailable"})
        return {}
    found = (_as_known(t, known[t.txid]) for t in transactions if t.txid in known)
    return {transaction.id: transaction for transaction in found if transaction is not None}


def _as_known(transaction: ChainTransaction, txid: str) -> ChainTransaction | None:
    """The transaction with the bytes that the network has, which exclude the others.

    None where somebody else has changed it meanwhile; the next look sees to it.
    """
    found: ChainTransaction | None = transaction
    if txid != transaction.txid:
        found = ChainTransaction.restore_bytes(transaction, txid)
    if found is not None:
        _log_found(found)
    return found


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


class _Verdict(StrEnum):
    DECIDED = "decided"
    OPEN = "open"
    UNDERPAID = "underpaid"


def _judge(
    transaction: ChainTransaction, outcome: BroadcastOutcome
) -> tuple[_Verdict, ChainTransaction | None]:
    """Draws the consequence of an answer that is no success; and it may be one after all.

    Whatever is called a conflict, missing or invalid may have been accepted by an earlier try whose
    answer was lost, so the chain is asked before anything is undone. It is undone only where the
    chain shows that no block can hold it: what is merely too cheap, or against one's policy, may be
    mined by others, and a record must not have a second anchor.
    """
    if outcome.status is BroadcastStatus.UNKNOWN:
        _wait(transaction, outcome)
        return _Verdict.OPEN, None
    is_refusal = outcome.status in _NEVER_VALID
    try:
        shown = evidence.gather(transaction)
        is_open = not shown.known_txid and not shown.spent_elsewhere
        false = evidence.find_false_inputs(transaction) if is_open and is_refusal else []
    except ServiceUnavailableError as error:
        logger.warning(
            "no evidence: %s",
            error,
            extra=chain_event("sent", transaction.txid, request_ids=list(transaction.request_ids)),
        )
        _wait(transaction, outcome)
        return _Verdict.OPEN, None
    if shown.known_txid is not None:
        return _Verdict.DECIDED, _as_known(transaction, shown.known_txid)
    if shown.spent_elsewhere or false:
        _reject(transaction, outcome, conflicts=shown.spent_elsewhere, false_inputs=false)
        return _Verdict.DECIDED, None
    return _judge_claim(transaction, outcome), None


def _judge_claim(transaction: ChainTransaction, outcome: BroadcastOutcome) -> _Verdict:
    """Nothing speaks for a refusal but the service's word."""
    if outcome.status not in _NEVER_VALID:
        _wait(transaction, outcome)
        return _Verdict.OPEN
    if transaction.refusals + 1 >= extensions.get().settings.max_anchor_attempts:
        _reject(transaction, outcome, is_given_up=True)
        return _Verdict.DECIDED
    if outcome.status is BroadcastStatus.FEE_TOO_LOW:
        return _Verdict.UNDERPAID
    _wait(transaction, outcome, is_refusal=True)
    return _Verdict.OPEN


def _pay_more(
    underpaid: Sequence[ChainTransaction], outcomes: Mapping[str, BroadcastOutcome]
) -> list[ChainTransaction]:
    """Raises the fee of those where that can be done; the others wait with the bytes they have."""
    reasons = {transaction.txid: outcomes[transaction.txid].reason for transaction in underpaid}
    raised = raising.raise_fees(underpaid, reasons)
    done = {transaction.id for transaction in raised}
    for transaction in underpaid:
        if transaction.id not in done:
            _wait(transaction, outcomes[transaction.txid], is_refusal=True)
    return raised


def _wait(
    transaction: ChainTransaction, outcome: BroadcastOutcome, *, is_refusal: bool = False
) -> None:
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
        is_refusal=is_refusal,
    )


def _reject(
    transaction: ChainTransaction,
    outcome: BroadcastOutcome,
    *,
    conflicts: Mapping[str, str] = _NONE,
    false_inputs: Sequence[str] = (),
    is_given_up: bool = False,
) -> None:
    reason = outcome.reason
    rejected = ChainTransaction.reject(
        transaction.id,
        reason=reason,
        conflicts=conflicts,
        false_inputs=false_inputs,
        is_given_up=is_given_up,
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
                false_inputs=list(false_inputs),
                is_given_up=is_given_up,
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
