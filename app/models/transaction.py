"""One transaction of ours, kept signed before the network sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from bson import ObjectId
from mongoengine import (
    BinaryField,
    BooleanField,
    DateTimeField,
    EmbeddedDocumentField,
    EmbeddedDocumentListField,
    IntField,
    ListField,
    LongField,
    ObjectIdField,
    StringField,
)
from pymongo import UpdateOne

from app.bitcoin.transactions import Transaction, TxOutput
from app.domain.batch_tree import BatchPlace, BatchTree
from app.domain.clock import utc_now
from app.domain.states import (
    TRANSACTION_DEAD,
    TRANSACTION_MOVES,
    TRANSACTION_WAITING,
    TransactionEvent,
    TransactionStatus,
)
from app.models.base import StatefulDocument, StoredPart


class TransactionKind(StrEnum):
    REGISTRATION = "registration"
    TRANSFER = "transfer"
    BATCH = "batch"
    SPLIT = "split"
    SWEEP = "sweep"
    # Made by an older system, and on the chain before it came here.
    IMPORTED = "imported"


class InputField(StoredPart):
    """An output of ours that the transaction spends."""

    outpoint = StringField(required=True)
    satoshis = LongField(required=True)
    locking_script = StringField(required=True)


class OutputField(StoredPart):
    """An output of the transaction that is ours and enters the pool when it is settled."""

    vout = IntField(required=True)
    satoshis = LongField(required=True)
    locking_script = StringField(required=True)
    key_identifier = StringField(required=True)
    address = StringField(required=True)


class AnchoredField(StoredPart):
    """A record that the transaction carries, with the issuer's word for it.

    `owner` moves the patch when the transaction is settled, and may be erased after.
    """

    record_id = ObjectIdField(required=True)
    kind = StringField(required=True)
    uid_tag_id = StringField(required=True)
    owner = StringField(required=True)
    prev_head = StringField()
    head = StringField(required=True)
    digest = StringField(required=True)
    issuer_pubkey = StringField(required=True)
    issuer_signature = StringField(required=True)


class VersionField(StoredPart):
    """Bytes that were sent and refused for their fee, before others took their place.

    All versions of a transaction spend the same outputs, so at most one of them is ever mined.
    """

    txid = StringField(required=True)
    raw_tx = BinaryField(required=True)
    outputs = EmbeddedDocumentListField(OutputField)
    fee_satoshis = LongField(required=True)
    size_bytes = IntField(required=True)


class ConflictField(StoredPart):
    """An input that another transaction is shown to have spent."""

    outpoint = StringField(required=True)
    txid = StringField(required=True)


class MerkleProofField(StoredPart):
    """Where the transaction is mined and the path that proves it, checked before it is stored."""

    block_hash = StringField(required=True)
    block_height = IntField(required=True)
    tx_index = IntField(required=True)
    merkle_path = BinaryField(required=True)
    block_header = BinaryField(required=True)


class ChainTransaction(StatefulDocument):
    """A transaction with its bytes, its inputs and outputs of ours, and its records.

    The records of a batch, in their order, are the leaves of its tree.

    Its `_id` is the claim id of the records and the lock id of the outputs. A dead one gives its
    `txid` up: the same coin, record and fee make the same bytes, and so the same txid, again.
    `next_attempt_at` is set while somebody has to look at it again and unset at the end.

    `refusals` counts how often the network called it invalid or too cheap, `earlier` holds the
    bytes that were too cheap. Why it was rejected: `conflicts`, inputs that others have spent;
    `false_inputs`, inputs that are not what we took them for; or `is_given_up`. `needs_operator`
    says that what has to follow is not for a program to decide; `reason` says why.
    """

    kind = StringField(required=True, choices=[k.value for k in TransactionKind])
    status = StringField(required=True, default=TransactionStatus.SIGNED.value)
    txid = StringField(required=True)
    dead_txid = StringField()
    raw_tx = BinaryField(required=True)
    inputs = EmbeddedDocumentListField(InputField)
    outputs = EmbeddedDocumentListField(OutputField)
    records = EmbeddedDocumentListField(AnchoredField)
    fee_satoshis = LongField(required=True)
    size_bytes = IntField(required=True)
    request_ids = ListField(StringField())

    attempts = IntField(default=0)
    next_attempt_at = DateTimeField()
    reason = StringField()
    refusals = IntField(default=0)
    earlier = EmbeddedDocumentListField(VersionField)
    conflicts = EmbeddedDocumentListField(ConflictField)
    false_inputs = ListField(StringField())
    is_given_up = BooleanField(default=False)
    needs_operator = BooleanField(default=False)
    settled_at = DateTimeField()
    proof = EmbeddedDocumentField(MerkleProofField)
    created_at = DateTimeField(default=utc_now)
    updated_at = DateTimeField(default=utc_now)
    accepted_at = DateTimeField()

    moves: ClassVar = TRANSACTION_MOVES
    meta: ClassVar[dict[str, Any]] = {
        "collection": "transactions",
        "indexes": [
            {"fields": ["txid"], "unique": True, "sparse": True},
            {"fields": ["next_attempt_at"], "sparse": True},
        ],
    }

    @property
    def raw_tx_hex(self) -> str:
        return bytes(self.raw_tx).hex()

    @property
    def txids(self) -> list[str]:
        """The txids under which the network may know it: its own, and those of earlier bytes."""
        return [self.txid, *(version.txid for version in self.earlier)]

    @property
    def version(self) -> VersionField:
        """The bytes as they are now."""
        return VersionField(
            txid=self.txid,
            raw_tx=self.raw_tx,
            outputs=self.outputs,
            fee_satoshis=self.fee_satoshis,
            size_bytes=self.size_bytes,
        )

    def places(self) -> dict[ObjectId, BatchPlace]:
        """Where each record of a batch stands in its tree, by the record's id; else nothing."""
        if self.kind != TransactionKind.BATCH:
            return {}
        tree = BatchTree.of([bytes.fromhex(record.digest) for record in self.records])
        return dict(zip((r.record_id for r in self.records), tree.places(), strict=True))

    @property
    def extended_tx_hex(self) -> str:
        """The bytes with the outputs that they spend (BRC-30), for services that ask for those."""
        transaction = Transaction.from_bytes(bytes(self.raw_tx))
        spent = [TxOutput(i.satoshis, bytes.fromhex(i.locking_script)) for i in self.inputs]
        return transaction.with_spent_outputs(spent).to_extended_hex()

    @classmethod
    def list_due(
        cls,
        statuses: Sequence[str],
        now: datetime,
        limit: int,
        *,
        is_settled: bool | None = None,
        without: Sequence[str] = (),
    ) -> list[ChainTransaction]:
        """Lists transactions in these states whose time has come, `without` some fields."""
        due = cls.objects(next_attempt_at__lte=now, status__in=list(statuses))
        if is_settled is not None:
            due = due.filter(settled_at__ne=None) if is_settled else due.filter(settled_at=None)
        return list(due.exclude(*without).limit(limit))

    @classmethod
    def existing_ids(cls, ids: Sequence[ObjectId]) -> set[ObjectId]:
        """Answers which of these ids belong to a stored transaction."""
        return set(cls.objects(id__in=list(ids)).scalar("id")) if ids else set()

    @classmethod
    def find_statuses(cls, ids: Sequence[ObjectId]) -> dict[ObjectId, str]:
        """Answers how far these transactions are, by id; those that are not stored are left out."""
        return dict(cls.objects(id__in=list(ids)).scalar("id", "status")) if ids else {}

    @classmethod
    def list_known_txids(cls, txids: Sequence[str]) -> set[str]:
        """Answers which of these txids are of transactions of ours, dead ones too: no index."""
        if not txids:
            return set()
        wanted = {"$in": list(txids)}
        found = cls.objects(__raw__={"$or": [{"txid": wanted}, {"dead_txid": wanted}]})
        return {txid or dead for txid, dead in found.scalar("txid", "dead_txid")}

    @classmethod
    def move_all(
        cls, ids: Sequence[ObjectId], event: TransactionEvent, **changes: Any
    ) -> set[ObjectId]:
        """Moves transactions along `event`; answers which of them are in its target state now.

        Those that someone else moved there before are among them: the event is idempotent.
        """
        if not ids:
            return set()
        cls.objects(id__in=list(ids)).transition(event, **changes)
        target = cls.moves[event].target
        return set(cls.objects(id__in=list(ids), status=target).scalar("id"))

    @classmethod
    def accept_all(
        cls, transactions: Sequence[ChainTransaction], next_attempt_at: datetime
    ) -> set[ObjectId]:
        """Notes that the network has these; answers which of them are accepted now, as they are.

        One that has got other bytes meanwhile is not among them: it is asked about again.
        """
        txids = {transaction.id: transaction.txid for transaction in transactions}
        if not txids:
            return set()
        cls.objects(id__in=list(txids), txid__in=list(txids.values())).transition(
            TransactionEvent.ACCEPTED,
            set__accepted_at=utc_now(),
            set__next_attempt_at=next_attempt_at,
            unset__reason=True,
        )
        accepted = cls.objects(id__in=list(txids), status=TransactionStatus.ACCEPTED.value)
        return {each for each, txid in accepted.scalar("id", "txid") if txids[each] == txid}

    @classmethod
    def abandon(cls, transaction_id: ObjectId) -> bool:
        """Gives up a transaction that was never committed; tells whether it is abandoned now."""
        return bool(
            cls.move_all(
                [transaction_id],
                TransactionEvent.ABANDONED,
                set__next_attempt_at=utc_now(),
                **_GIVE_TXID_UP,
            )
        )

    @classmethod
    def look_again(cls, ids: Sequence[ObjectId], next_attempt_at: datetime) -> None:
        """Sets when transactions that the network has are looked at next."""
        if ids:
            cls.objects(
                id__in=list(ids),
                status__in=[TransactionStatus.ACCEPTED, TransactionStatus.MINED],
            ).update(
                set__next_attempt_at=next_attempt_at, set__needs_operator=False, unset__reason=True
            )

    @classmethod
    def note_contest(
        cls,
        transaction_id: ObjectId,
        *,
        reason: str,
        next_attempt_at: datetime,
        needs_operator: bool = False,
    ) -> bool:
        """Notes that another transaction is about to win against one that was accepted."""
        return bool(
            cls.objects(id=transaction_id, status=TransactionStatus.ACCEPTED.value).update_one(
                set__reason=reason,
                set__needs_operator=needs_operator,
                set__next_attempt_at=next_attempt_at,
            )
        )

    @classmethod
    def contradict(
        cls, transaction_id: ObjectId, *, reason: str, conflicts: Mapping[str, str]
    ) -> bool:
        """Notes that it has lost for good after all; tells whether this call decided.

        One whose acceptance is being settled is left until that is done: both at once would undo
        half. `conflicts` is as in `reject`, and empty for one that spends from such a transaction.
        """
        settled = {
            "$or": [
                {"status": TransactionStatus.COMMITTED.value},
                {"settled_at": {"$ne": None}},
            ]
        }
        return bool(
            cls.objects(id=transaction_id, __raw__=settled).transition(
                TransactionEvent.CONTRADICTED,
                set__reason=reason,
                set__next_attempt_at=utc_now(),
                set__conflicts=_conflicts(conflicts),
                **_GIVE_TXID_UP,
            )
        )

    @classmethod
    def wait_undone(
        cls, transaction_id: ObjectId, *, next_attempt_at: datetime, reason: str | None
    ) -> bool:
        """Leaves a contradicted transaction half undone; a `reason` says that a person decides."""
        changes = {} if reason is None else {"set__reason": reason}
        return bool(
            cls.objects(id=transaction_id, status=TransactionStatus.CONTRADICTED.value).update_one(
                set__next_attempt_at=next_attempt_at,
                set__needs_operator=reason is not None,
                **changes,
            )
        )

    @classmethod
    def postpone(
        cls,
        transaction_id: ObjectId,
        *,
        status: str,
        next_attempt_at: datetime,
        reason: str,
        is_try: bool,
        is_refusal: bool = False,
    ) -> bool:
        """Notes that nothing was decided, on condition that the transaction is still there.

        `is_try` says whether it was sent, which counts, and `is_refusal` that it was refused.
        """
        return bool(
            cls.objects(id=transaction_id, status=status).update_one(
                set__next_attempt_at=next_attempt_at,
                set__reason=reason,
                inc__attempts=int(is_try),
                inc__refusals=int(is_refusal),
            )
        )

    @classmethod
    def replace_bytes(
        cls, transaction: ChainTransaction, version: VersionField, reason: str
    ) -> ChainTransaction | None:
        """Puts bytes that were refused for their fee behind better ones; answers it as it is now.

        None where somebody else has done it, or the network has decided meanwhile.
        """
        changed = cls._swap(
            transaction,
            version,
            [*transaction.earlier, transaction.version],
            set__reason=reason,
            inc__refusals=1,
            inc__attempts=1,
        )
        return cls.objects(id=transaction.id).first() if changed else None

    @classmethod
    def restore_bytes(cls, transaction: ChainTransaction, txid: str) -> ChainTransaction | None:
        """Takes earlier bytes back: those are what the network has. None as in `replace_bytes`."""
        [version] = [each for each in transaction.earlier if each.txid == txid]
        others = [each for each in transaction.earlier if each.txid != txid]
        changed = cls._swap(transaction, version, [*others, transaction.version])
        return cls.objects(id=transaction.id).first() if changed else None

    @classmethod
    def _swap(
        cls,
        transaction: ChainTransaction,
        version: VersionField,
        earlier: Sequence[VersionField],
        **changes: Any,
    ) -> bool:
        is_alone = transaction.kind != TransactionKind.BATCH
        for record in transaction.records:
            record.head = version.txid if is_alone else record.digest
        return bool(
            cls.objects(
                id=transaction.id, status=TransactionStatus.COMMITTED.value, txid=transaction.txid
            ).update_one(
                set__txid=version.txid,
                set__raw_tx=version.raw_tx,
                set__outputs=version.outputs,
                set__fee_satoshis=version.fee_satoshis,
                set__size_bytes=version.size_bytes,
                set__records=transaction.records,
                set__earlier=list(earlier),
                set__updated_at=utc_now(),
                **changes,
            )
        )

    @classmethod
    def make_due(cls, ids: Sequence[ObjectId], now: datetime) -> int:
        """Has transactions that have not ended looked at as soon as possible, as they are."""
        live = cls.objects(id__in=list(ids), status__in=list(TRANSACTION_WAITING))
        undone = cls.objects(
            id__in=list(ids), status__in=list(TRANSACTION_DEAD), next_attempt_at__ne=None
        )
        return int(live.update(set__next_attempt_at=now)) + int(
            undone.update(set__next_attempt_at=now)
        )

    @classmethod
    def reject(
        cls,
        transaction_id: ObjectId,
        *,
        reason: str,
        conflicts: Mapping[str, str],
        false_inputs: Sequence[str] = (),
        is_given_up: bool = False,
    ) -> ChainTransaction | None:
        """Notes the verdict that ends it; answers it where this call decided.

        It can never be mined, since others have spent some of its inputs (`conflicts`: outpoint ->
        txid), or since some are not as we took them to be (`false_inputs`). Or it was refused too
        often and `is_given_up`.
        """
        decided = cls.objects(id=transaction_id).transition(
            TransactionEvent.REJECTED,
            set__reason=reason,
            set__next_attempt_at=utc_now(),
            set__false_inputs=list(false_inputs),
            set__is_given_up=is_given_up,
            set__conflicts=_conflicts(conflicts),
            **_GIVE_TXID_UP,
        )
        return cls.objects(id=transaction_id).first() if decided else None

    @classmethod
    def mark_settled(cls, ids: Sequence[ObjectId], next_attempt_at: datetime) -> None:
        """Notes that all consequences of acceptance are drawn, and when to look at it next."""
        cls.objects(id__in=list(ids), settled_at=None).update(
            set__settled_at=utc_now(), set__next_attempt_at=next_attempt_at
        )

    @classmethod
    def count_needing_operator(cls) -> int:
        """Counts those that wait for a person; all of them will be looked at again."""
        return int(cls.objects(needs_operator=True, next_attempt_at__ne=None).count())

    @classmethod
    def finish_unwinding(cls, transaction_id: ObjectId) -> bool:
        """Marks a dead transaction as fully undone: nothing will look at it again."""
        mine = cls.objects(id=transaction_id, status__in=list(TRANSACTION_DEAD))
        # It moves no patch any more; nobody who has their data erased would be found here.
        mine.filter(__raw__={"records.owner": {"$exists": True}}).update_one(
            __raw__={"$unset": {"records.$[].owner": 1}}
        )
        return bool(mine.update_one(unset__next_attempt_at=True, set__needs_operator=False))

    @classmethod
    def list_anchors(cls, ids: Sequence[ObjectId]) -> dict[ObjectId, ChainTransaction]:
        """Answers these transactions by id, with what shows how records are on the chain."""
        fields = ("kind", "status", "txid", "raw_tx", "proof")
        found = cls.objects(id__in=list(ids)).only(*fields) if ids else ()
        return {transaction.id: transaction for transaction in found}

    @classmethod
    def forget_owners(cls, records: Iterable[tuple[ObjectId, ObjectId]]) -> int:
        """Erases owners beside the bytes of final transactions: pairs of transaction and record."""
        operations = [
            UpdateOne(
                {
                    "_id": transaction_id,
                    "status": TransactionStatus.FINAL.value,
                    "records.record_id": record_id,
                },
                {"$unset": {"records.$.owner": 1}},
            )
            for transaction_id, record_id in records
        ]
        if not operations:
            return 0
        return int(cls._get_collection().bulk_write(operations, ordered=False).modified_count)


_GIVE_TXID_UP = {"rename__txid": "dead_txid"}


def _conflicts(spent_by: Mapping[str, str]) -> list[ConflictField]:
    return [ConflictField(outpoint=point, txid=txid) for point, txid in spent_by.items()]
