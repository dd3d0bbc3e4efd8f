"""A customer's claim of a patch at the till, from the claim to its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from bson import ObjectId
from mongoengine import (
    BinaryField,
    DateTimeField,
    LongField,
    NotUniqueError,
    ObjectIdField,
    StringField,
)
from pymongo import UpdateOne

from app.domain.claims import ERASED, mark_of_nonce, mark_of_signature
from app.domain.clock import utc_now
from app.domain.states import CLAIM_MOVES, CLAIM_TERMINAL, ClaimEvent, ClaimStatus
from app.models.base import StatefulDocument

# Longer than any claim's time is accepted: until it has gone, nonce and signature are remembered.
_EXPIRED_KEPT = timedelta(days=1)


class DuplicateClaimError(Exception):
    """A claim with the same key and nonce, or the same signature, is kept already."""


class ClaimIntent(StatefulDocument):
    """A claim that a customer has signed, and what became of it.

    Two unique indexes make a nonce, with its key, and a signature work once. They stand in the
    database and not in Redis: the claim and the mark that it was used are one write, so no crash
    and no lost cache comes between them.

    `record_id` is chosen when the claim is approved, before there is a record. The one record with
    this id, inserted by whoever comes first, decides how the claim ends.

    `next_attempt_at` is when a pending claim expires, and when somebody looks at an approved one
    again; unset at the end. `purge_at` is set on expired ones, which nobody needs any more.

    Of an erased claim hashes stand in the place of nonce and signature: neither works again.
    """

    uid_tag_id = StringField(required=True)
    customer_address = StringField(required=True)
    customer_user_id = StringField()
    customer_public_key_hex = StringField(required=True)
    nonce = StringField(required=True)
    ts = LongField(required=True)
    signature = StringField(required=True)
    # The patch's head when it was claimed: what is approved is the handover from there.
    head = StringField(required=True)

    status = StringField(required=True, default=ClaimStatus.PENDING.value)
    reason = StringField()
    expires_at = DateTimeField(required=True)
    next_attempt_at = DateTimeField()
    purge_at = DateTimeField()

    approved_by = StringField()
    approver_salt = BinaryField(max_bytes=16)
    approved_at = DateTimeField()
    previous_owner = StringField()
    owner_public_key_hex = StringField()
    owner_signature = StringField()
    record_id = ObjectIdField()
    request_id = StringField()

    created_at = DateTimeField(default=utc_now)
    updated_at = DateTimeField(default=utc_now)
    erased_at = DateTimeField()

    moves: ClassVar = CLAIM_MOVES
    meta: ClassVar[dict[str, Any]] = {
        "collection": "claim_intents",
        "indexes": [
            {"fields": ["customer_public_key_hex", "nonce"], "unique": True},
            {"fields": ["signature"], "unique": True},
            ["uid_tag_id", "status"],
            {"fields": ["record_id"], "unique": True, "sparse": True},
            {"fields": ["next_attempt_at"], "sparse": True},
            {"fields": ["purge_at"], "sparse": True, "expireAfterSeconds": 0},
            # For people who ask what is held about them.
            {"fields": ["customer_user_id"], "sparse": True},
        ],
    }

    def is_overdue(self, now: datetime) -> bool:
        """Tells whether it still pends though its time is over."""
        return self.status == ClaimStatus.PENDING and bool(self.expires_at <= now)

    def insert(self) -> None:
        """Stores a new claim.

        Raises:
            DuplicateClaimError: its nonce or its signature was used before.
        """
        try:
            self.save(force_insert=True)
        except NotUniqueError as error:
            raise DuplicateClaimError from error

    @classmethod
    def find(cls, claim_id: str) -> ClaimIntent | None:
        """Finds a claim by its id; text that is no id names none."""
        if not ObjectId.is_valid(claim_id):
            return None
        found: ClaimIntent | None = cls.objects(id=claim_id).first()
        return found

    @classmethod
    def approve(cls, claim_id: ObjectId, now: datetime, **changes: Any) -> bool:
        """Approves a claim that is pending and in time; `changes` are fields with their values.

        Tells whether it was this call that did: of two at once one is.
        """
        set_fields = {f"set__{name}": value for name, value in changes.items()}
        return bool(
            cls.objects(id=claim_id, expires_at__gt=now).transition(
                ClaimEvent.APPROVED, set__approved_at=now, **set_fields
            )
        )

    @classmethod
    def expire(cls, claim_id: ObjectId, now: datetime) -> bool:
        """Ends one claim whose time is over, so that nobody approves what was called expired."""
        return bool(cls._expire(now, id=claim_id))

    @classmethod
    def expire_due(cls, now: datetime) -> int:
        """Ends every claim whose time is over; answers how many."""
        return cls._expire(now, next_attempt_at__lte=now)

    @classmethod
    def _expire(cls, now: datetime, **which: Any) -> int:
        return int(
            cls.objects(**which, expires_at__lte=now).transition(
                ClaimEvent.EXPIRED, set__purge_at=now + _EXPIRED_KEPT, unset__next_attempt_at=True
            )
        )

    @classmethod
    def list_approved_due(cls, now: datetime, limit: int) -> list[ClaimIntent]:
        """Lists approved claims that somebody has to look at."""
        return list(
            cls.objects(next_attempt_at__lte=now, status=ClaimStatus.APPROVED.value).limit(limit)
        )

    @classmethod
    def look_again(cls, ids: Sequence[ObjectId], at: datetime) -> None:
        """Puts approved claims whose record has not ended off."""
        if ids:
            cls.objects(id__in=list(ids), status=ClaimStatus.APPROVED.value).update(
                set__next_attempt_at=at
            )

    @classmethod
    def find_mark(cls, public_key_hex: str, nonce: str, signature: str) -> bool:
        """Tells whether a claim that was erased has used this nonce, with its key, or signature."""
        marks = [
            {"customer_public_key_hex": ERASED, "nonce": mark_of_nonce(public_key_hex, nonce)},
            {"signature": mark_of_signature(signature)},
        ]
        return cls.objects(__raw__={"$or": marks}).only("id").first() is not None

    @classmethod
    def withdraw(cls, claim_id: ObjectId) -> bool:
        """Deletes a claim that nobody has been told of."""
        mine = cls.objects(id=claim_id, status=ClaimStatus.PENDING.value)
        return bool(mine.delete())

    @classmethod
    def list_of_keys(
        cls, public_keys: Sequence[str], *, after: ObjectId | None, limit: int
    ) -> list[ClaimIntent]:
        """Lists claims that these keys have signed, by their ids, from one id on."""
        signed = cls.objects(customer_public_key_hex__in=list(public_keys))
        if after is not None:
            signed = signed.filter(id__gt=after)
        return list(signed.order_by("id").limit(limit))

    @classmethod
    def count_naming(cls, user_id: str) -> int:
        """Counts claims that name this customer, whoever has signed them."""
        return int(cls.objects(customer_user_id=user_id).count())

    @classmethod
    def list_naming(cls, user_id: str, created_before: datetime, limit: int) -> list[ObjectId]:
        """Answers the ids of claims that named this customer up to a moment."""
        naming = cls.objects(customer_user_id=user_id, created_at__lte=created_before)
        return list(naming.limit(limit).scalar("id"))

    @classmethod
    def forget_user_id(cls, ids: Sequence[ObjectId], user_id: str) -> int:
        """Erases a customer's id, which nobody has signed, and nothing else of these claims."""
        naming = cls.objects(id__in=list(ids), customer_user_id=user_id)
        return int(naming.update(unset__customer_user_id=True)) if ids else 0

    @classmethod
    def forget_owners_before(cls, record_ids: Sequence[ObjectId]) -> int:
        """Erases owner's word and address from the claims of ended transfers."""
        if not record_ids:
            return 0
        ended = [status.value for status in CLAIM_TERMINAL]
        mine = cls.objects(record_id__in=list(record_ids), status__in=ended)
        return int(mine.update(**{f"unset__{name}": True for name in _OWNER_BEFORE}))

    @classmethod
    def erase_all(cls, claims: Sequence[ClaimIntent]) -> int:
        """Erases customer and approver of claims that have ended, in one round trip."""
        now = utc_now()
        operations = [
            UpdateOne(
                {
                    "_id": claim.id,
                    "status": {"$in": [status.value for status in CLAIM_TERMINAL]},
                    "customer_public_key_hex": claim.customer_public_key_hex,
                },
                {
                    "$set": {
                        "customer_public_key_hex": ERASED,
                        "nonce": mark_of_nonce(claim.customer_public_key_hex, claim.nonce),
                        "signature": mark_of_signature(claim.signature),
                        "erased_at": now,
                        "updated_at": now,
                    },
                    "$unset": dict.fromkeys((*_CUSTOMER, *_OWNER_BEFORE), 1),
                },
            )
            for claim in claims
        ]
        if not operations:
            return 0
        return int(cls._get_collection().bulk_write(operations, ordered=False).modified_count)

    @classmethod
    def confirm_all(cls, ids: Iterable[ObjectId]) -> int:
        """Ends approved claims whose record is confirmed."""
        changes = [({"_id": each}, {"$unset": {"next_attempt_at": 1}}) for each in ids]
        return cls.transition_each(ClaimEvent.CONFIRMED, changes)

    @classmethod
    def fail_all(cls, reasons: Mapping[ObjectId, str]) -> int:
        """Ends approved claims whose record has failed, each for its reason."""
        changes = [
            ({"_id": each}, {"$set": {"reason": reason}, "$unset": {"next_attempt_at": 1}})
            for each, reason in reasons.items()
        ]
        return cls.transition_each(ClaimEvent.FAILED, changes)


_CUSTOMER = ("customer_address", "customer_user_id", "approved_by", "approver_salt")
# Who signed a claim's address over is erased with it: their word confirms it.
_OWNER_BEFORE = ("previous_owner", "owner_public_key_hex", "owner_signature")
