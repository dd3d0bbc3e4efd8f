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
    EmbeddedDocument,
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
from app.domain.clock import utc_now
from app.domain.states import (
    TRANSACTION_DEAD,
    TRANSACTION_MOVES,
    TRANSACTION_WAITING,
    TransactionEvent,
    TransactionStatus,
)
from app.models.base import StatefulDocument


class TransactionKind(StrEnum):
    REGISTRATION = "registration"
    TRANSFER = "transfer"
    BATCH = "batch"
    SPLIT = "split"
    SWEEP = "sweep"


class InputField(EmbeddedDocument):
    """An output of ours that the transaction spends."""

    outpoint = StringField(required=True)
    satoshis = LongField(required=True)
    locking_script = StringField(required=True)


class OutputField(EmbeddedDocument):
    """An output of the transaction that is ours and enters the pool when it is settled."""

    vout = IntField(required=True)
    satoshis = LongField(required=True)
    locking_script = StringField(required=True)
    key_identifier = StringField(required=True)
    address = StringField(required=True)


class AnchoredField(EmbeddedDocument):
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


class ConflictField(EmbeddedDocument):
    """An input that another transaction is shown to have spent."""

    outpoint = StringField(required=True)
    txid = StringField(required=True)


class MerkleProofField(EmbeddedDocument):
    """Where the transaction is mined and the path that proves it, checked before it is stored."""

    block_hash = StringField(required=True)
    block_height = IntField(required=True)
    tx_index = IntField(required=True)
    merkle_path = BinaryField(required=True)
    block_header = BinaryField(required=True)


class ChainTransaction(StatefulDocument):
    """A transaction with its bytes, its inputs and outputs of ours, and its records.

    Its `_id` is the claim id of the records and the lock id of the outputs. A dead one gives its
    `txid` up: the same coin, record and fee make the same bytes, and so the same txid, again.
    `next_attempt_at` is set while somebody has to look at it again and unset at the end.
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
    conflicts = EmbeddedDocumentListField(ConflictField)
    is_underpaid = BooleanField(default=False)
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
    ) -> list[ChainTransaction]:
        """Lists transactions in these states whose time has come."""
        due = cls.objects(next_attempt_at__lte=now, status__in=list(statuses))
        if is_settled is not None:
            due = due.filter(settled_at__ne=None) if is_settled else due.filter(settled_at=None)
        return list(due.limit(limit))

    @classmethod
    def existing_ids(cls, ids: Sequence[ObjectId]) -> set[ObjectId]:
        """Answers which of these ids belong to a stored transaction."""
        return set(cls.objects(id__in=list(ids)).scalar("id")) if ids else set()

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
            ).update(set__next_attempt_at=next_attempt_at)

    @classmethod
    def postpone(
        cls,
        transaction_id: ObjectId,
        *,
        status: str,
        next_attempt_at: datetime,
        reason: str,
        is_try: bool,
    ) -> bool:
        """Notes that nothing was decided, on condition that the transaction is still there.

        `is_try` says whether it was sent, which counts.
        """
        return bool(
            cls.objects(id=transaction_id, status=status).update_one(
                set__next_attempt_at=next_attempt_at,
                set__reason=reason,
                inc__attempts=int(is_try),
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
        is_underpaid: bool,
    ) -> ChainTransaction | None:
        """Notes the verdict that it can never be mined; answers it where this call decided.

        `conflicts` maps outpoints to the transactions that spent them; `is_underpaid` says that a
        higher fee would have done.
        """
        decided = cls.objects(id=transaction_id).transition(
            TransactionEvent.REJECTED,
            set__reason=reason,
            set__next_attempt_at=utc_now(),
            set__is_underpaid=is_underpaid,
            set__conflicts=[ConflictField(outpoint=o, txid=t) for o, t in conflicts.items()],
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
    def finish_unwinding(cls, transaction_id: ObjectId) -> bool:
        """Marks a dead transaction as fully undone: nothing will look at it again."""
        mine = cls.objects(
            id=transaction_id,
            status__in=[TransactionStatus.ABANDONED, TransactionStatus.REJECTED],
        )
        # It moves no patch any more; nobody who has their data erased would be found here.
        mine.filter(__raw__={"records.owner": {"$exists": True}}).update_one(
            __raw__={"$unset": {"records.$[].owner": 1}}
        )
        return bool(mine.update_one(unset__next_attempt_at=True))

    @classmethod
    def list_anchors(cls, ids: Sequence[ObjectId]) -> dict[ObjectId, ChainTransaction]:
        """Answers these transactions by id, with what shows how records are on the chain."""
        fields = ("status", "txid", "raw_tx", "proof")
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
