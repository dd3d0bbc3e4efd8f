"""One event in a patch's life: a registration or a transfer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, ClassVar

from bson import ObjectId
from mongoengine import (
    BinaryField,
    DateTimeField,
    DictField,
    EmbeddedDocumentField,
    IntField,
    ListField,
    LongField,
    NotUniqueError,
    ObjectIdField,
    StringField,
)
from pymongo import UpdateOne

from app.domain.batch_tree import BatchPlace
from app.domain.clock import utc_now
from app.domain.records import (
    SALT_BYTES,
    Custody,
    OwnerWord,
    Piece,
    PosClaim,
    RecordContent,
    RecordKind,
)
from app.domain.states import RECORD_MOVES, RECORD_TERMINAL, RecordEvent, RecordStatus
from app.models.base import StatefulDocument, StoredPart
from app.models.older import OlderField
from app.models.transaction import AnchoredField, ChainTransaction


class DuplicateRecordError(Exception):
    """A live record has the same `active_key`, or one was stored under the same idempotency key."""


class ClaimField(StoredPart):
    """A customer's claim at the till, kept as evidence; of the approver only a digest."""

    previous_owner = StringField(required=True)
    approved_by = StringField(required=True)
    public_key_hex = StringField(required=True)
    signature = StringField(required=True)
    ts = LongField(required=True)
    nonce = StringField(required=True)

    @property
    def content(self) -> PosClaim | None:
        """The claim, None where it was erased: what is left then only says that there was one."""
        if self.public_key_hex is None and self.signature is None:
            return None
        return PosClaim(
            self.previous_owner,
            self.approved_by,
            self.public_key_hex,
            self.signature,
            self.ts,
            self.nonce,
        )


class CustodyField(StoredPart):
    """The authorisation of a transfer, kept as evidence.

    The owner's word is three fields that are there together; at a till it may be missing.
    """

    prev_txid = StringField(required=True)
    signed_txid = StringField()
    current_owner_pubkey = StringField()
    current_owner_signature = StringField()
    claim = EmbeddedDocumentField(ClaimField)

    @property
    def content(self) -> Custody:
        word = None
        if self.current_owner_signature is not None:
            # A part that somebody took away is no reason to fail: the word just does not hold.
            word = OwnerWord(
                self.signed_txid or "",
                self.current_owner_pubkey or "",
                self.current_owner_signature,
            )
        return Custody(self.prev_txid, word, None if self.claim is None else self.claim.content)


class BatchField(StoredPart):
    """Where a record stands in the tree of the batch that carries it.

    The proof, not what is proven: nothing of it is hashed, so that the record's digest stays.
    """

    index = IntField(required=True)
    size = IntField(required=True)
    path = BinaryField()

    @property
    def place(self) -> BatchPlace:
        """The same; one of which parts are missing leads nowhere."""
        return BatchPlace(self.index or 0, self.size or 0, bytes(self.path or b""))


class AuthenticationRecord(StatefulDocument):
    """A record; immutable once confirmed.

    `active_key` is `reg:<uid>` or `xfer:<previous head>` while the record has not failed: its
    unique index is what makes a second registration, and a second transfer of one head, impossible.
    `next_attempt_at` is set while there is something to do for it and unset at the end.
    `idempotency_key` and `request_sha256` are hashes of a key that the caller chose and of what was
    asked with it: stored with the record, they let it answer when the same request comes again.
    `erased` names what was erased of it later, for people who asked for that; its salt goes along
    where somebody could confirm by the digest whom they guess.
    """

    kind = StringField(required=True, choices=[k.value for k in RecordKind])
    uid_tag_id = StringField(required=True)
    status = StringField(required=True, default=RecordStatus.PENDING.value)
    product = DictField(required=True)
    metadata = DictField()
    metadata_sha256 = StringField(required=True)
    owner = StringField(required=True)
    ts = LongField(required=True)
    custody = EmbeddedDocumentField(CustodyField)
    salt = BinaryField(required=True, max_bytes=SALT_BYTES)

    issuer_pubkey = StringField()
    issuer_signature = StringField()
    digest = StringField()
    head = StringField()
    txid = StringField()
    batch = EmbeddedDocumentField(BatchField)
    older = EmbeddedDocumentField(OlderField)

    active_key = StringField()
    idempotency_key = StringField()
    request_sha256 = StringField()
    transaction_id = ObjectIdField()
    claimed_at = DateTimeField()
    next_attempt_at = DateTimeField()
    attempts = IntField(default=0)
    reason = StringField()
    request_id = StringField()
    created_at = DateTimeField(default=utc_now)
    updated_at = DateTimeField(default=utc_now)
    confirmed_at = DateTimeField()
    erased = ListField(StringField(choices=[piece.value for piece in Piece]))
    erased_at = DateTimeField()

    moves: ClassVar = RECORD_MOVES
    meta: ClassVar[dict[str, Any]] = {
        "collection": "authentication_records",
        "indexes": [
            {"fields": ["active_key"], "unique": True, "sparse": True},
            {"fields": ["idempotency_key"], "unique": True, "sparse": True},
            {"fields": ["head"], "unique": True, "sparse": True},
            {"fields": ["txid"], "sparse": True},
            {"fields": ["transaction_id"], "sparse": True},
            {"fields": ["next_attempt_at"], "sparse": True},
            ["uid_tag_id", "created_at"],
            # For people who ask what is held about them.
            {"fields": ["owner"], "sparse": True},
            {"fields": ["custody.prev_txid"], "sparse": True},
        ],
    }

    @property
    def content(self) -> RecordContent:
        """What was fixed when the record was accepted."""
        return RecordContent(
            kind=RecordKind(self.kind),
            product=dict(self.product),
            metadata=dict(self.metadata),
            metadata_sha256=self.metadata_sha256,
            owner=self.owner,
            ts=self.ts,
            custody=None if self.custody is None else self.custody.content,
            erased=frozenset(Piece(each) for each in self.erased),
        )

    def public_view(self) -> dict[str, Any]:
        """The record as readers see it; needs the issuer's signature."""
        return self.content.public_view(self.issuer_pubkey, self.issuer_signature)

    def insert(self) -> None:
        """Stores a new record.

        Raises:
            DuplicateRecordError: a live record has the same `active_key`, or any record the same
                `idempotency_key`.
        """
        try:
            self.save(force_insert=True)
        except NotUniqueError as error:
            raise DuplicateRecordError(self.active_key) from error

    def refuse(self, reason: str) -> None:
        """Makes of a record that is not stored yet one that has failed, and holds nothing."""
        self.status = RecordStatus.FAILED.value
        self.reason = reason
        self.active_key = None
        self.next_attempt_at = None

    @classmethod
    def find_confirmed(cls, head: str) -> AuthenticationRecord | None:
        """Finds the confirmed record that this head names."""
        return cls.objects(head=head, status=RecordStatus.CONFIRMED.value).first()

    @classmethod
    def list_sharing(
        cls, txid: str, metadata_sha256: str | None, *, limit: int
    ) -> list[AuthenticationRecord]:
        """Lists records that a transaction carries, those with this metadata where it is given."""
        carried = cls.objects(txid=txid)
        if metadata_sha256 is not None:
            carried = carried.filter(metadata_sha256=metadata_sha256)
        return list(carried.limit(limit))

    @classmethod
    def find_by_idempotency_key(cls, key: str) -> AuthenticationRecord | None:
        """Finds the record that was stored under this key, a hash."""
        return cls.objects(idempotency_key=key).first()

    @classmethod
    def forget_idempotency_key(cls, record_id: ObjectId, key: str) -> bool:
        """Frees a key whose time is over, so that another request may use it."""
        return bool(
            cls.objects(id=record_id, idempotency_key=key).update_one(unset__idempotency_key=True)
        )

    @classmethod
    def has_successor(cls, head: str) -> bool:
        """Tells whether a transfer of this head is under way or confirmed."""
        return cls.objects(active_key=transfer_key(head)).only("id").first() is not None

    @classmethod
    def find_outcomes(cls, ids: Sequence[ObjectId]) -> dict[ObjectId, AuthenticationRecord]:
        """Finds records by their ids, with no more than how far they are."""
        found = cls.objects(id__in=list(ids)).only("status", "head", "reason") if ids else ()
        return {record.id: record for record in found}

    @classmethod
    def list_owned(
        cls, addresses: Sequence[str], *, after: ObjectId | None, limit: int
    ) -> list[AuthenticationRecord]:
        """Lists records whose owner has one of these addresses, by their ids, from one id on."""
        owned = cls.objects(owner__in=list(addresses))
        if after is not None:
            owned = owned.filter(id__gt=after)
        return list(owned.order_by("id").limit(limit))

    @classmethod
    def list_following(cls, heads: Sequence[str]) -> list[AuthenticationRecord]:
        """Lists transfers that continue, or would have continued, these heads."""
        return list(cls.objects(custody__prev_txid__in=list(heads))) if heads else []

    @classmethod
    def erase_handovers(cls, records: Sequence[AuthenticationRecord]) -> int:
        """Erases from transfers that have ended what is the owner's before: word and address."""
        return cls._erase(
            (record, pieces, _handover_fields(pieces))
            for record in records
            if (pieces := record.pieces_of_handover())
        )

    @classmethod
    def erase_owners(cls, records: Sequence[AuthenticationRecord]) -> int:
        """Erases from records that have ended their owner, and what would confirm a guess of it.

        That is also the word of the owner before, who has signed the address, and hashes of the
        request that named it.
        """
        return cls._erase((record, record.pieces_of_owner(), _OWNER_FIELDS) for record in records)

    def pieces_of_handover(self) -> list[Piece]:
        """What the record still has of the owner before."""
        if self.custody is None:
            return []
        claim = self.custody.claim
        there = {
            Piece.OWNER_WORD: self.custody.current_owner_signature is not None,
            Piece.PREVIOUS_OWNER: claim is not None and claim.previous_owner is not None,
        }
        return [piece for piece, is_there in there.items() if is_there]

    def pieces_of_owner(self) -> list[Piece]:
        """What the record still has that names its owner, or would confirm a guess."""
        custody = self.custody
        there = {
            Piece.OWNER: self.owner is not None,
            Piece.OWNER_WORD: custody is not None and custody.current_owner_signature is not None,
            Piece.CLAIM: custody is not None
            and custody.claim is not None
            and custody.claim.signature is not None,
        }
        return [piece for piece, is_there in there.items() if is_there]

    @classmethod
    def _erase(
        cls, parts: Iterable[tuple[AuthenticationRecord, Sequence[Piece], Sequence[str]]]
    ) -> int:
        """Erases in one round trip; a record that has not ended, or lost it all before, stays."""
        ended = {"$in": [status.value for status in RECORD_TERMINAL]}
        now = utc_now()
        operations = [
            UpdateOne(
                {"_id": record.id, "status": ended},
                {
                    "$unset": dict.fromkeys(fields, 1),
                    "$addToSet": {"erased": {"$each": [piece.value for piece in pieces]}},
                    "$set": {"erased_at": now, "updated_at": now},
                },
            )
            for record, pieces, fields in parts
        ]
        if not operations:
            return 0
        return int(cls._get_collection().bulk_write(operations, ordered=False).modified_count)

    @classmethod
    def list_due(cls, now: datetime, limit: int) -> list[AuthenticationRecord]:
        """Lists pending records that nobody has claimed and whose time has come."""
        return list(
            cls.objects(
                next_attempt_at__lte=now, status=RecordStatus.PENDING.value, transaction_id=None
            ).limit(limit)
        )

    @classmethod
    def list_waiting(
        cls, kind: RecordKind, now: datetime, limit: int
    ) -> list[AuthenticationRecord]:
        """Lists pending records of a kind that nobody has claimed, those first that are due first.

        Due or not: what was tried and waits, for coins or for a signer, says a reason. Not yet due
        and without one is what the request that has brought it is about to anchor itself.
        """
        is_tried_or_due = {"$or": [{"next_attempt_at": {"$lte": now}}, {"reason": {"$ne": None}}]}
        return list(
            cls.objects(
                next_attempt_at__gt=_LONG_AGO,
                status=RecordStatus.PENDING.value,
                kind=kind.value,
                transaction_id=None,
                __raw__=is_tried_or_due,
            )
            .order_by("next_attempt_at")
            .limit(limit)
        )

    @classmethod
    def list_old_claims(cls, now: datetime, claimed_before: datetime) -> list[AuthenticationRecord]:
        """Lists pending records whose claim is older than the lease."""
        return list(
            cls.objects(
                next_attempt_at__lte=now,
                status=RecordStatus.PENDING.value,
                claimed_at__lte=claimed_before,
            )
        )

    @classmethod
    def claim(
        cls, records: Sequence[AuthenticationRecord], now: datetime
    ) -> list[AuthenticationRecord]:
        """Sets a fresh `transaction_id` on each record that has none; answers those that were won.

        A claim does not move `next_attempt_at`: the claim's age decides about its end.
        """
        ids = {record.id: ObjectId() for record in records}
        collection = cls._get_collection()
        operations = [
            UpdateOne(
                {"_id": record_id, "status": RecordStatus.PENDING.value, "transaction_id": None},
                {"$set": {"transaction_id": claim_id, "claimed_at": now, "updated_at": now}},
            )
            for record_id, claim_id in ids.items()
        ]
        if not operations:
            return []
        won = collection.bulk_write(operations, ordered=False).modified_count
        claimed = list(records)
        if won != len(operations):
            winners = {
                row["_id"]
                for row in collection.find(
                    {"_id": {"$in": list(ids)}, "transaction_id": {"$in": list(ids.values())}},
                    {"_id": 1},
                )
            }
            claimed = [record for record in records if record.id in winners]
        for record in claimed:
            record.transaction_id = ids[record.id]
            record.claimed_at = now
        return claimed

    @classmethod
    def claim_together(
        cls, records: Sequence[AuthenticationRecord], transaction_id: ObjectId, now: datetime
    ) -> list[AuthenticationRecord]:
        """The same for one transaction that is to carry them all; answers those that were won."""
        ids = [record.id for record in records]
        claim = {"transaction_id": transaction_id, "claimed_at": now, "updated_at": now}
        collection = cls._get_collection()
        won = collection.update_many(
            {"_id": {"$in": ids}, "status": RecordStatus.PENDING.value, "transaction_id": None},
            {"$set": claim},
        ).modified_count
        claimed = list(records)
        if won != len(ids):
            mine = {"_id": {"$in": ids}, "transaction_id": transaction_id}
            winners = {row["_id"] for row in collection.find(mine, {"_id": 1})}
            claimed = [record for record in records if record.id in winners]
        for record in claimed:
            record.transaction_id = transaction_id
            record.claimed_at = now
        return claimed

    @classmethod
    def commit_each(cls, transactions: Sequence[ChainTransaction]) -> set[ObjectId]:
        """Makes claims final; answers the ids of records that are bound to their transaction now.

        A record that was taken over meanwhile is not among them.
        """
        wanted = {r.record_id: t for t in transactions for r in t.records}
        won = cls.transition_each(
            RecordEvent.COMMITTED,
            (
                ({"_id": r.record_id, "transaction_id": t.id}, {"$set": anchor})
                for t in transactions
                for r, anchor in _anchors(t)
            ),
        )
        if won == len(wanted):
            return set(wanted)
        bound = cls.objects(
            id__in=list(wanted), status__in=[RecordStatus.ANCHORING, RecordStatus.CONFIRMED]
        )
        return {
            record_id
            for record_id, transaction_id in bound.scalar("id", "transaction_id")
            if wanted[record_id].id == transaction_id
        }

    @classmethod
    def rename_each(cls, transactions: Sequence[ChainTransaction]) -> int:
        """Names records anew whose transaction has got other bytes, and with them a new txid."""
        operations = [
            UpdateOne(
                {
                    "_id": r.record_id,
                    "transaction_id": t.id,
                    "status": RecordStatus.ANCHORING.value,
                    "txid": {"$ne": t.txid},
                },
                {"$set": {**anchor, "updated_at": utc_now()}},
            )
            for t in transactions
            for r, anchor in _anchors(t)
        ]
        if not operations:
            return 0
        return int(cls._get_collection().bulk_write(operations, ordered=False).modified_count)

    @classmethod
    def settle_each(cls, transactions: Sequence[ChainTransaction]) -> int:
        """Confirms the records of accepted transactions."""
        now = utc_now()
        return cls.transition_each(
            RecordEvent.SETTLED,
            (
                (
                    {"_id": r.record_id, "transaction_id": t.id},
                    {
                        "$set": {"confirmed_at": now},
                        "$unset": {"next_attempt_at": 1, "reason": 1, "claimed_at": 1},
                    },
                )
                for t in transactions
                for r in t.records
            ),
        )

    @classmethod
    def release_claims(
        cls, transaction_ids: Sequence[ObjectId], *, reason: str, next_attempt_at: datetime
    ) -> int:
        """Gives claimed records back, to be tried again at `next_attempt_at` for `reason`.

        Only those that are still pending: whoever found no transaction behind a claim may have
        looked a moment before it was stored, committed and sent.
        """
        return int(
            cls.objects(
                transaction_id__in=list(transaction_ids), status=RecordStatus.PENDING.value
            ).transition(
                RecordEvent.RETURNED,
                set__next_attempt_at=next_attempt_at,
                set__reason=reason,
                **_UNSET_ANCHOR,
            )
        )

    @classmethod
    def return_abandoned(
        cls, transaction_id: ObjectId, *, reason: str, next_attempt_at: datetime
    ) -> int:
        """Sends the records of a transaction that will never be sent back to pending."""
        return int(
            cls.objects(transaction_id=transaction_id).transition(
                RecordEvent.RETURNED,
                set__next_attempt_at=next_attempt_at,
                set__reason=reason,
                **_UNSET_ANCHOR,
            )
        )

    @classmethod
    def return_rejected(
        cls,
        transaction_id: ObjectId,
        *,
        reason: str,
        next_attempt_at: datetime,
        max_attempts: int,
    ) -> int:
        """Sends the records of a dead transaction back to pending; those out of tries fail."""
        mine = cls.objects(transaction_id=transaction_id)
        failed = mine.filter(attempts__gte=max_attempts - 1).transition(
            RecordEvent.GIVEN_UP, set__reason=reason, inc__attempts=1, **_UNSET_ALL
        )
        returned = mine.transition(
            RecordEvent.RETURNED,
            set__reason=reason,
            set__next_attempt_at=next_attempt_at,
            inc__attempts=1,
            **_UNSET_ANCHOR,
        )
        return int(failed) + int(returned)

    @classmethod
    def contradict_each(cls, transaction_ids: Sequence[ObjectId], *, reason: str) -> int:
        """Takes confirmation back from the records of transactions that have lost."""
        return int(
            cls.objects(transaction_id__in=list(transaction_ids)).transition(
                RecordEvent.CONTRADICTED,
                set__next_attempt_at=utc_now(),
                set__reason=reason,
                unset__confirmed_at=True,
            )
        )

    @classmethod
    def find_states(cls, ids: Sequence[ObjectId]) -> dict[ObjectId, str]:
        """Answers how far those of these records are that exist."""
        return dict(cls.objects(id__in=list(ids)).scalar("id", "status")) if ids else {}

    @classmethod
    def list_imported(cls, uid_tag_ids: Collection[str]) -> list[AuthenticationRecord]:
        """Lists the confirmed records of these patches that an older system made."""
        mine = cls.objects(
            uid_tag_id__in=list(uid_tag_ids), status=RecordStatus.CONFIRMED.value, older__ne=None
        )
        return list(mine) if uid_tag_ids else []

    def as_anchored(self) -> AnchoredField:
        """What a transaction of its own says of a confirmed record."""
        return AnchoredField(
            record_id=self.id,
            kind=self.kind,
            uid_tag_id=self.uid_tag_id,
            owner=self.owner,
            prev_head=None if self.custody is None else self.custody.prev_txid,
            head=self.head,
            digest=self.digest,
            issuer_pubkey=self.issuer_pubkey,
            issuer_signature=self.issuer_signature,
        )

    @classmethod
    def forget_older(cls, ids: Sequence[ObjectId]) -> int:
        """Deletes imported records that were kept as failed and turn out to be more."""
        mine = cls.objects(id__in=list(ids), status=RecordStatus.FAILED.value, older__ne=None)
        return int(mine.delete()) if ids else 0

    @classmethod
    def find_successors(cls, heads: Sequence[str]) -> dict[str, AuthenticationRecord]:
        """Finds the live transfers that continue these heads, by the head."""
        keys = {transfer_key(head): head for head in heads}
        found = cls.objects(active_key__in=list(keys)) if keys else ()
        return {keys[record.active_key]: record for record in found}

    @classmethod
    def list_carried(cls, transaction_id: ObjectId) -> dict[ObjectId, AuthenticationRecord]:
        """Lists the records that name a transaction and have not failed, by their ids."""
        named = cls.objects(transaction_id=transaction_id, status__ne=RecordStatus.FAILED.value)
        return {record.id: record for record in named}

    @classmethod
    def find_by_heads(cls, heads: Sequence[str]) -> dict[str, AuthenticationRecord]:
        """Finds the records that these heads name, by the head."""
        found = cls.objects(head__in=list(heads)) if heads else ()
        return {record.head: record for record in found}

    @classmethod
    def list_confirmed_heads(cls, heads: Sequence[str]) -> set[str]:
        """Answers those of these heads that name confirmed records."""
        confirmed = cls.objects(head__in=list(heads), status=RecordStatus.CONFIRMED.value)
        return set(confirmed.scalar("head")) if heads else set()

    @classmethod
    def return_contradicted(
        cls, salts: Mapping[ObjectId, bytes], transaction_id: ObjectId, *, reason: str
    ) -> int:
        """Sends records of a transaction that has lost back to pending, each with its new salt."""
        now = utc_now()
        unset = {name.removeprefix("unset__"): 1 for name in _UNSET_ANCHOR}
        return cls.transition_each(
            RecordEvent.RETURNED,
            (
                (
                    {"_id": record_id, "transaction_id": transaction_id},
                    {
                        "$set": {"next_attempt_at": now, "reason": reason, "salt": salt},
                        "$unset": unset,
                    },
                )
                for record_id, salt in salts.items()
            ),
        )

    @classmethod
    def fail_carried(cls, transaction_id: ObjectId, reason: str) -> int:
        """Fails the records of a transaction that was given up, and so frees their uids."""
        return int(
            cls.objects(transaction_id=transaction_id).transition(
                RecordEvent.GIVEN_UP, set__reason=reason, inc__attempts=1, **_UNSET_ALL
            )
        )

    @classmethod
    def make_due(cls, ids: Sequence[ObjectId], now: datetime) -> int:
        """Has pending records looked at as soon as possible; one under way has its transaction."""
        return int(
            cls.objects(id__in=list(ids), status=RecordStatus.PENDING.value).update(
                set__next_attempt_at=now
            )
        )

    @classmethod
    def fail_claimed(cls, record: AuthenticationRecord, reason: str) -> bool:
        """Fails a record whose claim led to no transaction, and so frees its uid."""
        return bool(
            cls.objects(
                id=record.id,
                transaction_id=record.transaction_id,
                status=RecordStatus.PENDING.value,
            ).transition(RecordEvent.GIVEN_UP, set__reason=reason, **_UNSET_ALL)
        )

    @classmethod
    def fail_unclaimed(cls, record_id: ObjectId, reason: str) -> bool:
        """Fails a pending record that nobody has claimed, and so frees its uid."""
        return bool(cls.fail_all_unclaimed([record_id], reason))

    @classmethod
    def fail_all_unclaimed(cls, record_ids: Sequence[ObjectId], reason: str) -> int:
        """Fails those of these records that are pending and that nobody has claimed."""
        return int(
            cls.objects(
                id__in=list(record_ids), status=RecordStatus.PENDING.value, transaction_id=None
            ).transition(RecordEvent.GIVEN_UP, set__reason=reason, **_UNSET_ALL)
        )

    @classmethod
    def refuse_unclaimed(cls, record_id: ObjectId, reason: str) -> bool:
        """The same for a record whose caller is told that it was not accepted after all.

        Their next try, under the same key too, is a new one.
        """
        return bool(
            cls.objects(
                id=record_id, status=RecordStatus.PENDING.value, transaction_id=None
            ).transition(
                RecordEvent.GIVEN_UP,
                set__reason=reason,
                unset__idempotency_key=True,
                **_UNSET_ALL,
            )
        )


# Older than any time of ours: whatever has a time at all comes after it.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def transfer_key(head: str) -> str:
    """The `active_key` of the one live transfer that may continue a head."""
    return f"xfer:{head}"


def _anchors(transaction: ChainTransaction) -> Iterator[tuple[AnchoredField, dict[str, Any]]]:
    """What each record of a transaction gets from it."""
    places = transaction.places()
    for record in transaction.records:
        anchor = {
            "txid": transaction.txid,
            "head": record.head,
            "digest": record.digest,
            "issuer_pubkey": record.issuer_pubkey,
            "issuer_signature": record.issuer_signature,
        }
        if place := places.get(record.record_id):
            anchor["batch"] = asdict(place)
        yield record, anchor


_UNSET_ANCHOR = {
    "unset__transaction_id": True,
    "unset__claimed_at": True,
    "unset__head": True,
    "unset__txid": True,
    "unset__digest": True,
    "unset__issuer_signature": True,
    "unset__issuer_pubkey": True,
    "unset__batch": True,
}
_UNSET_ALL = {**_UNSET_ANCHOR, "unset__active_key": True, "unset__next_attempt_at": True}


def _handover_fields(pieces: Sequence[Piece]) -> Sequence[str]:
    """A signature that is gone can't be guessed, so the new owner's record keeps its salt."""
    return _HANDOVER_FIELDS if Piece.OWNER_WORD in pieces else ("salt", *_HANDOVER_FIELDS)


_HANDOVER_FIELDS = (
    "custody.signed_txid",
    "custody.current_owner_pubkey",
    "custody.current_owner_signature",
    "custody.claim.previous_owner",
)
# What is left of a claim says that there was one.
_OWNER_FIELDS = (
    "owner",
    "salt",
    *_HANDOVER_FIELDS,
    *(f"custody.claim.{name}" for name in ("public_key_hex", "signature", "ts", "nonce")),
    "custody.claim.approved_by",
    "idempotency_key",
    "request_sha256",
)
