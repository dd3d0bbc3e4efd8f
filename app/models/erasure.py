"""Somebody's request to have their data erased: what is left to do, and in the end that it is done.

While it is open it names whom it is for, so that every process can go on from where another one
stopped. Its end takes that out. What stays is a keyed hash of the subject: for a user id, so that
nobody else takes it, for an address of mail until the last token of it has run out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from mongoengine import BooleanField, DateTimeField, DictField, ListField, StringField
from pymongo.errors import DuplicateKeyError

from app.domain.clock import utc_now
from app.models.base import StoredDocument


class Erasure(StoredDocument):
    """A request, one a subject. Its `_id` is the subject's digest (`subjects.digest`).

    `items` names all that is, or is about to be, erased: `<what>:<id>`. Each is noted before it is
    erased, so whoever goes on after a crash knows what was; the end leaves their number, `counts`.
    `next_attempt_at` is set while it is open.
    """

    subject_digest = StringField(primary_key=True)
    requested_at = DateTimeField(required=True)
    requested_by = StringField(required=True)
    next_attempt_at = DateTimeField()
    finished_at = DateTimeField()

    # While it is open.
    subject = StringField()
    login_key_hex = StringField()
    public_keys = ListField(StringField())
    items = ListField(StringField())

    # Once it has ended.
    counts = DictField()
    is_user_id = BooleanField(default=False)
    freed_at = DateTimeField()
    purge_at = DateTimeField()

    meta: ClassVar[dict[str, Any]] = {
        "collection": "erasures",
        "indexes": [
            {"fields": ["next_attempt_at"], "sparse": True},
            {"fields": ["purge_at"], "sparse": True, "expireAfterSeconds": 0},
        ],
        "auto_create_index": False,
    }

    @property
    def is_open(self) -> bool:
        return self.finished_at is None

    @classmethod
    def find(cls, subject_digest: str) -> Erasure | None:
        found: Erasure | None = cls.objects(subject_digest=subject_digest).first()
        return found

    @classmethod
    def open(  # noqa: PLR0913 - each is a part of the request
        cls,
        subject_digest: str,
        *,
        subject: str,
        by: str,
        login_key_hex: str | None,
        public_keys: Sequence[str],
        is_user_id: bool,
        now: datetime,
        next_attempt_at: datetime,
    ) -> Erasure:
        """Stores a request, or widens the one that is there to all that is held up to now."""
        values = {
            "requested_at": now,
            "requested_by": by,
            "subject": subject,
            "is_user_id": is_user_id,
            "next_attempt_at": next_attempt_at,
        }
        if login_key_hex is not None:
            values["login_key_hex"] = login_key_hex
        change = {
            "$set": values,
            "$addToSet": {"public_keys": {"$each": list(public_keys)}},
            "$unset": {"finished_at": 1, "counts": 1, "freed_at": 1, "purge_at": 1},
        }
        collection = cls._get_collection()
        try:
            collection.update_one({"_id": subject_digest}, change, upsert=True)
        except DuplicateKeyError:
            # The same request at the same time: it is there by now.
            collection.update_one({"_id": subject_digest}, change)
        stored: Erasure = cls.objects.get(subject_digest=subject_digest)
        return stored

    @classmethod
    def reserves(cls, subject_digest: str) -> bool:
        """Tells whether this user id was erased, and no operator has freed it since."""
        found = cls.objects(subject_digest=subject_digest, freed_at=None).only("is_user_id").first()
        return found is not None and bool(found.is_user_id)

    @classmethod
    def list_reserved(cls, subject_digests: Collection[str]) -> set[str]:
        """The same for many: answers those of these digests that are kept from others."""
        kept = cls.objects(subject_digest__in=list(subject_digests), freed_at=None, is_user_id=True)
        return set(kept.scalar("subject_digest")) if subject_digests else set()

    @classmethod
    def list_due(cls, now: datetime, limit: int) -> list[Erasure]:
        return list(cls.objects(next_attempt_at__lte=now).limit(limit))

    def put_off(self, until: datetime) -> bool:
        """Sets when somebody looks at it next; False when it has ended or was asked for anew."""
        return bool(self._mine().update_one(set__next_attempt_at=until))

    def note(self, items: Collection[str]) -> None:
        """Notes what is about to be erased. Repeats change nothing."""
        new = sorted(set(items) - set(self.items))
        if new:
            # Whoever else is at it notes here as well.
            open_one = Erasure.objects(subject_digest=self.subject_digest, finished_at=None)
            open_one.update_one(add_to_set__items=new)
            self.items.extend(new)

    def finish(self, counts: Mapping[str, int], purge_at: datetime | None) -> bool:
        """Ends it, and takes out whom it was for; of `items` their number by what they are stays.

        False when it was asked for anew, or somebody else noted something, meanwhile.
        """
        ending: dict[str, Any] = {} if purge_at is None else {"set__purge_at": purge_at}
        count = len(self.items)
        same = {"items": {"$size": count}} if count else {"items.0": {"$exists": False}}
        return bool(
            self._mine()
            .filter(__raw__=same)
            .update_one(
                set__finished_at=utc_now(),
                set__counts=dict(counts),
                unset__subject=True,
                unset__login_key_hex=True,
                unset__public_keys=True,
                unset__items=True,
                unset__next_attempt_at=True,
                **ending,
            )
        )

    @classmethod
    def free(cls, subject_digest: str) -> bool:
        """Lets somebody register an erased user id again; False where nothing keeps it."""
        kept = cls.objects(subject_digest=subject_digest, is_user_id=True, freed_at=None)
        return bool(kept.update_one(set__freed_at=utc_now()))

    def _mine(self) -> Any:
        return Erasure.objects(
            subject_digest=self.subject_digest, requested_at=self.requested_at, finished_at=None
        )
