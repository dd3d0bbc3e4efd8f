"""Records and transactions that wait: which, why and for how long, and how to move them on.

Nothing here builds a transaction. Replaying makes a thing due; the sweeper goes on from where it
is, and what has bytes is sent again with the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bson import ObjectId

from app.domain.clock import utc_now
from app.domain.states import (
    TRANSACTION_DEAD,
    TRANSACTION_WAITING,
    RecordStatus,
    TransactionStatus,
)
from app.errors import ConflictError, NotFoundError
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.services import sweeper

logger = logging.getLogger(__name__)

# What is being done, how much of it is done, and of how much.
OnProgress = Callable[[str, int, int | None], None]
_MAX_ROUNDS = 1000


class Kind(StrEnum):
    RECORD = "record"
    TRANSACTION = "transaction"


# What can be asked for; the first of each are those that wait.
RECORD_STATES = (RecordStatus.PENDING, RecordStatus.ANCHORING, RecordStatus.FAILED)
TRANSACTION_STATES = (
    TransactionStatus.SIGNED,
    TransactionStatus.COMMITTED,
    TransactionStatus.ACCEPTED,
    TransactionStatus.ABANDONED,
    TransactionStatus.REJECTED,
    TransactionStatus.CONTRADICTED,
)
WAITING_STATES: tuple[str, ...] = (
    RecordStatus.PENDING,
    RecordStatus.ANCHORING,
    *TRANSACTION_STATES,
)
_WORDS: Mapping[str, str] = {
    RecordStatus.PENDING: "nobody has taken it up yet",
    RecordStatus.ANCHORING: "its transaction is on its way",
    TransactionStatus.SIGNED: "stored and not committed yet",
    TransactionStatus.COMMITTED: "the network has not said that it has it",
    TransactionStatus.ACCEPTED: "accepted and not settled yet",
    TransactionStatus.ABANDONED: "abandoned and not undone yet",
    TransactionStatus.REJECTED: "rejected and not undone yet",
    TransactionStatus.CONTRADICTED: "lost to another transaction and not undone yet",
}


@dataclass(frozen=True)
class Stuck:
    """Something that waits. `subject` is the patch's uid, or what the transaction is for."""

    kind: Kind
    id: str
    status: str
    subject: str
    txid: str | None
    age_seconds: float
    tries: int
    next_attempt_at: datetime | None
    reason: str


@dataclass(frozen=True)
class Replay:
    """What became of an id that was to be replayed."""

    id: str
    kind: Kind | None
    is_due: bool
    outcome: str


def list_stuck(
    *, older_than: timedelta = timedelta(0), states: Sequence[str] = WAITING_STATES, limit: int
) -> list[Stuck]:
    """Lists records, then transactions, that have waited so long, the oldest first."""
    now = utc_now()
    made_before = now - older_than
    records = _list_records(states, made_before, limit)
    transactions = _list_transactions(states, made_before, limit - len(records))
    return [
        *(_stuck_record(record, reason, now) for record, reason in records),
        *(_stuck_transaction(transaction, now) for transaction in transactions),
    ]


def plan_replay(ids: Sequence[str]) -> list[Replay]:
    """Tells what replaying would do; reads only."""
    return [replay for replay, _, _ in _plan(ids)]


def replay(ids: Sequence[str]) -> list[Replay]:
    """Makes things due now, as they are; answers what became of each id."""
    planned = _plan(ids)
    now = utc_now()
    AuthenticationRecord.make_due([r for _, records, _ in planned for r in records], now)
    ChainTransaction.make_due([t for _, _, found in planned for t in found], now)
    due = [each.id for each, _, _ in planned if each.is_due]
    if due:
        logger.warning("replayed by hand", extra={"event": "jobs.replayed", "ids": due})
    return [each for each, _, _ in planned]


def sweep(ids: Sequence[str], on_progress: OnProgress) -> int:
    """Sweeps here and now until nothing moves any more; answers how many of the ids still wait."""
    left = count_waiting(ids)
    for _ in range(_MAX_ROUNDS):
        on_progress("sweep", len(ids) - left, len(ids))
        before = left
        report = sweeper.sweep()
        left = count_waiting(ids)
        if report.is_empty or left in (0, before):
            break
    on_progress("sweep", len(ids) - left, len(ids))
    return left


def count_waiting(ids: Sequence[str]) -> int:
    """Counts those of the records and transactions that have not ended, or not settled."""
    known = _as_object_ids(ids)
    waiting = [RecordStatus.PENDING.value, RecordStatus.ANCHORING.value]
    records = AuthenticationRecord.objects(id__in=known, status__in=waiting).count()
    condition = {"$or": [_waits_in(state) for state in TRANSACTION_STATES]}
    transactions = ChainTransaction.objects(id__in=known, __raw__=condition).count()
    return int(records) + int(transactions)


def fail(record_id: str, reason: str) -> AuthenticationRecord:
    """Gives a record up and frees its uid, while nothing that carries it can reach the chain.

    Raises:
        NotFoundError: no record has this id.
        ConflictError: it has ended, or is claimed: a transaction may carry it.
    """
    record = _get_record(record_id)
    if not AuthenticationRecord.fail_unclaimed(record.id, f"given up by the operator: {reason}"):
        raise ConflictError(_why_not_failed(_get_record(record_id)))
    logger.warning(
        "record given up by hand",
        extra={"event": "jobs.failed", "record_id": record_id, "reason": reason},
    )
    return _get_record(record_id)


def _list_records(
    states: Sequence[str], made_before: datetime, limit: int
) -> list[tuple[AuthenticationRecord, str | None]]:
    """Records with the reason of the transaction that carries them, where it has one."""
    wanted = [state.value for state in RECORD_STATES if state in states]
    if not wanted or limit <= 0:
        return []
    records = list(
        AuthenticationRecord.objects(status__in=wanted, created_at__lte=made_before)
        .order_by("created_at")
        .limit(limit)
    )
    carriers = [record.transaction_id for record in records if record.transaction_id]
    reasons = dict(ChainTransaction.objects(id__in=carriers).scalar("id", "reason"))
    return [(record, reasons.get(record.transaction_id)) for record in records]


def _list_transactions(
    states: Sequence[str], made_before: datetime, limit: int
) -> list[ChainTransaction]:
    wanted = [state for state in TRANSACTION_STATES if state in states]
    if not wanted or limit <= 0:
        return []
    condition = {"$or": [_waits_in(state) for state in wanted]}
    return list(
        ChainTransaction.objects(__raw__=condition, created_at__lte=made_before)
        .exclude("raw_tx", "proof", "records")
        .order_by("created_at")
        .limit(limit)
    )


def _waits_in(state: TransactionStatus) -> dict[str, object]:
    """What is not over yet: settled ones are only tracked, undone ones are done.

    A settled one with a reason is about to lose to another transaction.
    """
    if state in TRANSACTION_DEAD:
        return {"status": state.value, "next_attempt_at": {"$ne": None}}
    return {"status": state.value, "$or": [{"settled_at": None}, {"reason": {"$ne": None}}]}


def _stuck_record(record: AuthenticationRecord, carrier_reason: str | None, now: datetime) -> Stuck:
    return Stuck(
        kind=Kind.RECORD,
        id=str(record.id),
        status=record.status,
        subject=record.uid_tag_id,
        txid=record.txid,
        age_seconds=_age(record.created_at, now),
        tries=record.attempts,
        next_attempt_at=record.next_attempt_at,
        reason=carrier_reason or record.reason or _WORDS[record.status],
    )


def _stuck_transaction(transaction: ChainTransaction, now: datetime) -> Stuck:
    return Stuck(
        kind=Kind.TRANSACTION,
        id=str(transaction.id),
        status=transaction.status,
        subject=transaction.kind,
        txid=transaction.txid or transaction.dead_txid,
        age_seconds=_age(transaction.created_at, now),
        tries=transaction.attempts,
        next_attempt_at=transaction.next_attempt_at,
        reason=transaction.reason or _WORDS[transaction.status],
    )


def _age(created_at: datetime, now: datetime) -> float:
    return round((now - created_at).total_seconds(), 1)


# What to do with an id, and the records and transactions that are to be made due for it.
_Planned = tuple[Replay, list[ObjectId], list[ObjectId]]


def _plan(ids: Sequence[str]) -> list[_Planned]:
    known = _as_object_ids(ids)
    records = {str(record.id): record for record in AuthenticationRecord.objects(id__in=known)}
    live = _list_live(known)
    statuses = dict(ChainTransaction.objects(id__in=known).scalar("id", "status"))
    planned: list[_Planned] = []
    for each in dict.fromkeys(ids):
        if each in records:
            planned.append(_plan_record(records[each]))
        elif ObjectId.is_valid(each) and ObjectId(each) in statuses:
            transaction_id = ObjectId(each)
            status = statuses[transaction_id]
            planned.append(_plan_transaction(transaction_id, status, transaction_id in live))
        else:
            planned.append((Replay(each, None, False, "no record or transaction has it"), [], []))
    return planned


def _plan_record(record: AuthenticationRecord) -> _Planned:
    carriers = [record.transaction_id] if record.transaction_id else []
    record_id = str(record.id)
    if record.status == RecordStatus.PENDING:
        outcome = "claimed: its claim ends with the lease" if carriers else "anchored next"
        return Replay(record_id, Kind.RECORD, True, outcome), [record.id], carriers
    if record.status == RecordStatus.ANCHORING:
        outcome = f"its transaction {record.transaction_id} is taken on from where it is"
        return Replay(record_id, Kind.RECORD, True, outcome), [], carriers
    outcome = f"has ended: {record.status}"
    if record.status == RecordStatus.FAILED:
        outcome = "has failed and given its uid up: send it anew"
    return Replay(record_id, Kind.RECORD, False, outcome), [], []


def _plan_transaction(transaction_id: ObjectId, status: str, is_live: bool) -> _Planned:
    text = str(transaction_id)
    if not is_live:
        return Replay(text, Kind.TRANSACTION, False, f"has ended: {status}"), [], []
    outcome = "the same bytes, as far as they have come"
    if status in TRANSACTION_DEAD:
        outcome = "undone to the end"
    return Replay(text, Kind.TRANSACTION, True, outcome), [], [transaction_id]


def _list_live(ids: Sequence[ObjectId]) -> set[ObjectId]:
    """Those of the transactions that somebody still has to look at, trackers included."""
    live = [status.value for status in TRANSACTION_WAITING]
    undone = {"status": {"$in": list(TRANSACTION_DEAD)}, "next_attempt_at": {"$ne": None}}
    condition = {"$or": [{"status": {"$in": live}}, undone]}
    return set(ChainTransaction.objects(id__in=list(ids), __raw__=condition).scalar("id"))


def _as_object_ids(ids: Sequence[str]) -> list[ObjectId]:
    return [ObjectId(each) for each in ids if ObjectId.is_valid(each)]


def _get_record(record_id: str) -> AuthenticationRecord:
    if not ObjectId.is_valid(record_id):
        raise NotFoundError(f"{record_id} is not an id")
    found = ObjectId(record_id)
    record: AuthenticationRecord | None = AuthenticationRecord.objects(id=found).first()
    if record is not None:
        return record
    if ChainTransaction.existing_ids([found]):
        raise ConflictError("a transaction ends by the network's verdict only: replay it")
    raise NotFoundError(f"no record has the id {record_id}")


def _why_not_failed(record: AuthenticationRecord) -> str:
    if record.status == RecordStatus.PENDING:
        return (
            "it is claimed, and what claimed it may store a transaction at any moment: "
            "try again once the lease is over"
        )
    if record.status == RecordStatus.ANCHORING:
        return f"the transaction {record.txid} carries it and may reach the chain: replay it"
    return f"it has ended already: {record.status}"
