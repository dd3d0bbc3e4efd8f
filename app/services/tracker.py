"""Follows accepted transactions until they are buried: mined, proven, final.

A block counts only with a merkle path that leads to the root of a header with proof of work. After
a reorganisation a transaction is proven again; one that the mempools dropped is sent again, the
same bytes; and where those are refused, `contradiction` looks whether another has won.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from bson import ObjectId

from app import extensions
from app.clients.chain_types import ChainStatus, HeaderAt
from app.clients.outcomes import BroadcastStatus, ServiceUnavailableError, UnexpectedAnswerError
from app.domain.clock import utc_now
from app.domain.states import TransactionEvent, TransactionStatus
from app.logs import chain_event
from app.models.setting import CHAIN_TIP, Setting
from app.models.transaction import ChainTransaction
from app.services import contradiction, delivery, proofs

logger = logging.getLogger(__name__)

_LIMIT = 500
# So many proofs may fail to come before the service counts as away.
_PATIENCE = 3
# What a service says of bytes whose input somebody else has spent.
_CONTESTED = frozenset({BroadcastStatus.MISSING_INPUTS, BroadcastStatus.CONFLICT})


class Outcome(StrEnum):
    """What one look at one transaction found."""

    WAITING = "waiting"
    MINED = "mined"
    FINAL = "final"
    REORGANISED = "reorganised"
    DROPPED = "dropped"


@dataclass(frozen=True)
class TrackingReport:
    """How many transactions were looked at, and what became of them."""

    checked: int = 0
    mined: int = 0
    final: int = 0
    reorganised: int = 0
    resent: int = 0


@dataclass
class _Round:
    """What one round knows of the chain, and how often it had no answer."""

    tip_height: int
    headers: dict[str, HeaderAt] = field(default_factory=dict)
    failures: int = 0


def track() -> TrackingReport:
    """Asks the chain about every settled transaction that is due.

    Raises:
        ServiceUnavailableError: the chain service is away; what it said before counts.
    """
    chain = extensions.get().chain
    due = _list_due()
    tip = chain.get_chain_info().tip_height
    Setting.put(CHAIN_TIP, tip)
    if not due:
        return TrackingReport()
    statuses = chain.list_transaction_statuses([t.txid for t in due])
    current = _Round(tip)
    sorted_out: dict[Outcome, list[ChainTransaction]] = {outcome: [] for outcome in Outcome}
    try:
        for transaction in due:
            outcome = _look_at(transaction, statuses.get(transaction.txid), current)
            sorted_out[outcome].append(transaction)
    finally:
        _apply(sorted_out, tip)
    counts = {outcome: len(found) for outcome, found in sorted_out.items()}
    report = TrackingReport(
        checked=len(due),
        mined=counts[Outcome.MINED],
        final=counts[Outcome.FINAL],
        reorganised=counts[Outcome.REORGANISED],
        resent=counts[Outcome.DROPPED],
    )
    logger.info("tracked", extra={"event": "tracking", "tip_height": tip, **asdict(report)})
    return report


def _list_due() -> Sequence[ChainTransaction]:
    statuses = [TransactionStatus.ACCEPTED, TransactionStatus.MINED]
    # A batch has a thousand records, and none of them is looked at here.
    return ChainTransaction.list_due(
        statuses, utc_now(), _LIMIT, is_settled=True, without=("records",)
    )


def _look_at(transaction: ChainTransaction, status: ChainStatus | None, current: _Round) -> Outcome:
    if status is None:
        # Nothing clear was said about it, which says nothing.
        return Outcome.WAITING
    if status.kind == "mined":
        return _look_at_mined(transaction, status, current)
    if transaction.status == TransactionStatus.MINED:
        return Outcome.REORGANISED
    return Outcome.DROPPED if status.kind == "unknown" else Outcome.WAITING


def _look_at_mined(transaction: ChainTransaction, status: ChainStatus, current: _Round) -> Outcome:
    proof = transaction.proof
    if proof is not None and proof.block_hash == status.block_hash:
        confirmations = current.tip_height - proof.block_height + 1
        is_deep = confirmations >= extensions.get().settings.final_confirmations
        return Outcome.FINAL if is_deep else Outcome.WAITING
    try:
        proof = proofs.find(transaction.txid, current.headers)
    except ServiceUnavailableError as error:
        # Its own answer is bad or does not come; those of others may be better.
        current.failures += not isinstance(error, UnexpectedAnswerError)
        if current.failures >= _PATIENCE:
            raise
        logger.warning(
            "tracking waits: %s",
            error,
            extra=chain_event(
                "waiting", transaction.txid, request_ids=list(transaction.request_ids)
            ),
        )
        return Outcome.WAITING
    if proof is None:
        return Outcome.WAITING
    ChainTransaction.move_all(
        [transaction.id],
        TransactionEvent.MINED,
        set__proof=proof,
        set__next_attempt_at=_next_look(),
        set__needs_operator=False,
        unset__reason=True,
    )
    logger.info(
        "transaction mined",
        extra=chain_event(
            "mined",
            transaction.txid,
            block_height=proof.block_height,
            request_ids=list(transaction.request_ids),
        ),
    )
    return Outcome.MINED


def _apply(sorted_out: Mapping[Outcome, Sequence[ChainTransaction]], tip_height: int) -> None:
    """Notes what was seen, one update an outcome; sends what was dropped, parents first."""
    ids = {outcome: [t.id for t in found] for outcome, found in sorted_out.items()}
    ChainTransaction.move_all(
        ids[Outcome.FINAL], TransactionEvent.BURIED, unset__next_attempt_at=True
    )
    ChainTransaction.move_all(
        ids[Outcome.REORGANISED],
        TransactionEvent.REORGANISED,
        unset__proof=True,
        set__next_attempt_at=_next_look(),
    )
    contested = _send_again(sorted_out[Outcome.DROPPED], tip_height)
    seen = [*ids[Outcome.WAITING], *ids[Outcome.DROPPED]]
    ChainTransaction.look_again([each for each in seen if each not in contested], _next_look())


def _send_again(dropped: Sequence[ChainTransaction], tip_height: int) -> set[ObjectId]:
    """Sends the same bytes; answers those that are refused because another spends their input."""
    if not dropped:
        return set()
    outcomes = delivery.send(dropped)
    contested = set()
    for transaction in dropped:
        outcome = outcomes[transaction.txid]
        logger.warning(
            "transaction was dropped, sent again",
            extra=chain_event(
                "sent",
                transaction.txid,
                outcome=outcome.status.value,
                request_ids=list(transaction.request_ids),
            ),
        )
        if outcome.status in _CONTESTED and contradiction.look_at(transaction, tip_height):
            contested.add(transaction.id)
    return contested


def _next_look() -> datetime:
    return utc_now() + timedelta(seconds=extensions.get().settings.track_interval_seconds)
