"""Compares the database with the chain, and brings one that came out of a dump up to it.

What the chain shows of our own transactions is taken over: their outputs are spent, and the records
that they carry are bound to them, never anchored a second time. A record that came to be after the
dump can't be taken over, for the chain has its digest only: it is named.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId

from app import extensions
from app.bitcoin.transactions import Outpoint, Transaction
from app.clients.outcomes import UnexpectedAnswerError
from app.domain.anchored import Carried, list_carried
from app.domain.clock import utc_now
from app.domain.envelope import Kind
from app.domain.records import RecordKind
from app.domain.states import (
    TRANSACTION_LIVE,
    TRANSACTION_ON_NETWORK,
    RecordStatus,
    TransactionEvent,
    TransactionStatus,
)
from app.errors import ConflictError
from app.models import copying, proven
from app.models.cursors import Row
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.setting import RESTORED, UNCERTAIN, Setting
from app.models.transaction import AnchoredField, ChainTransaction, InputField, TransactionKind
from app.models.utxo import NewUtxo, Utxo
from app.services import (
    chain_consistency,
    chain_walk,
    consistency,
    invariants,
    pool_sync,
    settlement,
    signing,
)
from app.services.chain_walk import ChainWalk
from app.services.maintenance import exclusive
from app.services.pool_sync import SyncReport
from app.services.reshaping import OnProgress, unwatched

logger = logging.getLogger(__name__)

_FINAL = TransactionStatus.FINAL.value


@dataclass(frozen=True)
class LostRecord:
    """A record on the chain that the database does not have. Of a transfer the patch that it moved;
    of a batch nobody can tell which records it carries."""

    txid: str
    kind: str
    uid_tag_id: str | None


@dataclass(frozen=True)
class Comparison:
    """What database and chain say of each other.

    `asked` transactions are live and not final; those `not_on_chain` are sent again; those `behind`
    are on the chain and not taken over. `unknown` are on the chain, made with our keys, and not in
    the database; `carried` says which records of ours they carry (record id -> txid). `uncertain`
    are waiting registrations that an unknown batch may carry.
    """

    restored_at: datetime | None
    asked: int
    not_on_chain: tuple[str, ...]
    behind: tuple[str, ...]
    unknown: tuple[str, ...]
    carried: Mapping[str, str]
    lost: tuple[LostRecord, ...]
    uncertain: tuple[str, ...]
    invariants: invariants.Report

    @property
    def is_clean(self) -> bool:
        """Whether nothing has to be done."""
        is_known = not (self.behind or self.unknown or self.lost or self.uncertain)
        return is_known and self.restored_at is None and self.invariants.is_clean


@dataclass(frozen=True)
class Repair:
    """What was found and taken over, and how things stand now.

    `released` is what was held back since the dump was restored and is due now. `is_open` says that
    the service may start.
    """

    found: Comparison
    taken_over: tuple[str, ...]
    sync: SyncReport
    released: int
    is_open: bool
    invariants: invariants.Report

    @property
    def is_clean(self) -> bool:
        """Whether all is well now, and nothing was lost."""
        return self.is_open and not self.found.lost and self.invariants.is_clean


@dataclass(frozen=True)
class _Found:
    """What there is to take over: transactions of the database, and those that it lacks."""

    comparison: Comparison
    behind: Sequence[ChainTransaction]
    carriers: Sequence[ChainTransaction]
    parents: Sequence[NewUtxo]
    missing: Mapping[ObjectId, Sequence[Row]]


def compare(*, on_progress: OnProgress = unwatched) -> Comparison:
    """Asks the chain about everything that is not final. Changes nothing.

    Raises:
        ServiceUnavailableError: the chain service gave no complete answer; nothing is known.
    """
    return _look(on_progress).comparison


def repair(*, accepts_uncertain: bool = False, on_progress: OnProgress = unwatched) -> Repair:
    """Takes over what the chain shows, syncs the pool, and lets go what was held back.

    `accepts_uncertain` lets go also of registrations that an unknown batch may carry; else they
    stay held and the database is not opened.

    Raises:
        ConflictError: the database is none that was restored: while the service runs, nothing here
            may move what it is working on.
        ServiceUnavailableError: as above; it can be run again from any point.
        LockHeldError, LockLostError, UnavailableError: somebody else is at it, or Redis is away.
    """
    if Setting.find_value(RESTORED) is None:
        raise ConflictError(
            "nothing was restored here; after another tool has, stop everything and run "
            "manage.py db hold"
        )
    with exclusive() as guard:
        found = _look(on_progress)
        guard.check()
        if found.comparison.uncertain:
            # The next look does not meet the batch again: its outputs are known by then.
            Setting.put(UNCERTAIN, value=True)
        taken_over = _take_over(found)
        sync = pool_sync.sync_under(guard, on_progress=on_progress)
        guard.check()
        is_open = accepts_uncertain or not found.comparison.uncertain
        released = copying.release() if is_open else 0
        if is_open:
            Setting.delete_key(UNCERTAIN)
            Setting.delete_key(RESTORED)
    logger.warning(
        "database compared and repaired",
        extra={
            "event": "backup.repaired",
            "taken_over": len(taken_over),
            "lost": [each.txid for each in found.comparison.lost],
            "is_open": is_open,
        },
    )
    return Repair(found.comparison, taken_over, sync, released, is_open, invariants.check())


def _look(on_progress: OnProgress) -> _Found:
    on_progress("ask for our transactions", 0, None)
    unsettled = [status.value for status in TRANSACTION_LIVE if status.value != _FINAL]
    live = list(ChainTransaction.objects(status__in=unsettled))
    on_chain = _known([transaction.txid for transaction in live])
    skewed, missing = _look_at_groups()
    behind = [t for t in live if t.txid in on_chain and t.settled_at is None] + skewed
    walk = chain_walk.walk(chain_consistency.addresses(), on_progress=on_progress)
    waiting = proven.list_unanchored()
    carriers: list[ChainTransaction] = []
    lost = [
        LostRecord(str(transaction_id), str(row.get("kind")), row.get("uid_tag_id"))
        for transaction_id, rows in missing.items()
        for row in rows
    ]
    for transaction in walk.in_order():
        carried = list(list_carried(transaction))
        anchored = list(_match(transaction, carried, waiting))
        if anchored:
            carriers.append(_document(transaction, anchored, walk))
        else:
            lost += [_lost(transaction, each) for each in carried]
    bound = {str(r.record_id): t.txid for t in carriers for r in t.records}
    has_batch = any(each.kind == Kind.BATCH for each in lost) or Setting.find_value(UNCERTAIN)
    comparison = Comparison(
        restored_at=Setting.find_value(RESTORED),
        asked=len(live),
        not_on_chain=tuple(t.txid for t in live if t.txid not in on_chain),
        behind=tuple(transaction.txid for transaction in behind),
        unknown=tuple(walk.ours),
        carried=bound,
        lost=tuple(lost),
        uncertain=_list_uncertain(waiting, bound) if has_batch else (),
        invariants=invariants.check(),
    )
    return _Found(comparison, behind, carriers, _parents(carriers), missing)


def _known(txids: Sequence[str]) -> set[str]:
    chain = extensions.get().chain
    statuses = chain.list_transaction_statuses(txids) if txids else {}
    if len(statuses) < len(set(txids)):
        raise UnexpectedAnswerError(chain.name, "it does not say where each transaction is")
    return {txid for txid, status in statuses.items() if status.kind != "unknown"}


def _look_at_groups() -> tuple[list[ChainTransaction], dict[ObjectId, list[Row]]]:
    """What a dump of many moments has torn apart, transactions having been read last.

    Settled ones whose outputs or records are not so far; and, by transaction, records that it
    carries and that are not there at all.
    """
    skewed: list[ObjectId] = []
    unnamed: dict[ObjectId, list[Row]] = {}
    for group in consistency.groups():
        row = group.transaction
        if row is None:
            continue
        named = {record["_id"] for record in group.records}
        others = [r for r in row.get("records", ()) if r.get("record_id") not in named]
        if others and group.is_committed:
            unnamed[row["_id"]] = others
        if group.is_settled and _is_skewed(group):
            skewed.append(row["_id"])
    ids = [each["record_id"] for others in unnamed.values() for each in others]
    there = AuthenticationRecord.find_states(ids)
    missing = {
        transaction_id: [each for each in others if each["record_id"] not in there]
        for transaction_id, others in unnamed.items()
    }
    behind = list(ChainTransaction.objects(id__in=skewed)) if skewed else []
    return behind, {each: rows for each, rows in missing.items() if rows}


def _is_skewed(group: consistency.Group) -> bool:
    finders = (
        consistency.find_unsecured_inputs,
        consistency.find_ownerless_locks,
        consistency.find_false_carriers,
    )
    return any(True for find in finders for _ in find(group))


def _match(
    transaction: Transaction, carried: Sequence[Carried], waiting: Sequence[AuthenticationRecord]
) -> Iterator[AnchoredField]:
    for each in carried:
        for record in waiting:
            digest = each.find_digest(record.content, bytes(record.salt))
            if digest is None:
                continue
            yield AnchoredField(
                record_id=record.id,
                kind=record.kind,
                uid_tag_id=record.uid_tag_id,
                owner=record.owner,
                prev_head=each.prev_txid,
                head=transaction.txid,
                digest=digest,
                issuer_pubkey=each.issuer_pubkey,
                issuer_signature=each.issuer_signature,
            )
            break


def _document(
    transaction: Transaction, anchored: Sequence[AnchoredField], walk: ChainWalk
) -> ChainTransaction:
    """The transaction as it was stored once; the same document whenever it is made."""
    inputs = [
        InputField(
            outpoint=str(each.outpoint),
            satoshis=spent.satoshis,
            locking_script=spent.locking_script.hex(),
        )
        for each in transaction.inputs
        if (spent := walk.find_spent(each)) is not None
    ]
    paid = sum(each.satoshis for each in inputs)
    return ChainTransaction(
        id=ObjectId(hashlib.sha256(transaction.txid.encode()).hexdigest()[:24]),
        kind=_KIND[anchored[0].kind].value,
        status=TransactionStatus.ACCEPTED.value,
        txid=transaction.txid,
        raw_tx=transaction.to_bytes(),
        inputs=inputs,
        outputs=signing.outputs_of_ours(transaction),
        records=list(anchored),
        fee_satoshis=paid - sum(output.satoshis for output in transaction.outputs),
        size_bytes=transaction.size,
        next_attempt_at=utc_now(),
        accepted_at=utc_now(),
    )


_KIND = {
    RecordKind.REGISTRATION.value: TransactionKind.REGISTRATION,
    RecordKind.TRANSFER.value: TransactionKind.TRANSFER,
}


def _lost(transaction: Transaction, carried: Carried) -> LostRecord:
    moved = None
    if carried.prev_txid is not None:
        moved = PatchState.objects(head=carried.prev_txid).only("uid_tag_id").first()
    return LostRecord(
        transaction.txid, carried.kind.value, None if moved is None else moved.uid_tag_id
    )


def _list_uncertain(
    waiting: Sequence[AuthenticationRecord], bound: Mapping[str, str]
) -> tuple[str, ...]:
    return tuple(
        str(record.id)
        for record in waiting
        if record.kind == RecordKind.REGISTRATION and str(record.id) not in bound
    )


def _parents(carriers: Sequence[ChainTransaction]) -> list[NewUtxo]:
    """The outputs that they spend, for the pool to know them where it does not."""
    settings = extensions.get().settings
    return [
        NewUtxo(
            outpoint=Outpoint.from_text(each.outpoint),
            satoshis=each.satoshis,
            locking_script=bytes.fromhex(each.locking_script),
            key_identifier=settings.utxo_funding_key_identifier,
            address=settings.utxo_funding_address,
            is_spendable=False,
        )
        for transaction in carriers
        for each in transaction.inputs
    ]


def _take_over(found: _Found) -> tuple[str, ...]:
    """Draws the consequences of what the chain shows, in an order that can be repeated."""
    proven.forget_records(
        {each: [r["record_id"] for r in rows] for each, rows in found.missing.items()}
    )
    ChainTransaction.insert_all(found.carriers)
    Utxo.add_all(found.parents)
    transactions = [*found.behind, *found.carriers]
    proven.spend((i.outpoint, t.id, t.txid) for t in transactions for i in t.inputs)
    proven.bind(transactions)
    unsent = [t.id for t in transactions if t.status == TransactionStatus.SIGNED]
    ChainTransaction.move_all(unsent, TransactionEvent.COMMITTED)
    for transaction in transactions:
        # One by one: the next may continue what this one moves.
        if transaction.status in TRANSACTION_ON_NETWORK:
            settlement.settle([transaction])
        else:
            settlement.accept([transaction])
    _set_heads()
    return tuple(transaction.txid for transaction in transactions)


def _set_heads() -> None:
    """Sets every patch to where its records lead; what has moved it further is lost."""
    for patch in consistency.patches():
        if any(True for _ in consistency.find_false_head(patch)):
            line = consistency.fold(
                [r for r in patch.records if r.get("status") == RecordStatus.CONFIRMED]
            )
            proven.set_head(patch.uid_tag_id, line[-1] if line else None)
