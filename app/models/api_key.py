"""API keys that operators have made: what is known of each, never its secret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from mongoengine import DateTimeField, ListField, NotUniqueError, StringField

from app.domain.clock import utc_now
from app.models.base import StoredDocument


class DuplicateApiKeyError(Exception):
    """A key has the same prefix, or succeeds the same key."""


class ApiKey(StoredDocument):
    """A key. Its `_id` is the prefix, the public part of its text.

    `rotated_from` is the prefix of the key that it succeeds; its unique index gives each key one
    successor, whoever rotates at the same time. Nothing is deleted: a list tells the whole story.
    """

    prefix = StringField(primary_key=True)
    secret_hash = StringField(required=True)
    name = StringField(required=True)
    scopes = ListField(StringField(), required=True)
    created_at = DateTimeField(default=utc_now)
    expires_at = DateTimeField()
    last_used_at = DateTimeField()
    revoked_at = DateTimeField()
    rotated_from = StringField()

    meta: ClassVar[dict[str, Any]] = {
        "collection": "api_keys",
        "indexes": [{"fields": ["rotated_from"], "unique": True, "sparse": True}],
        "auto_create_index": False,
    }

    def insert(self) -> None:
        """Stores a new key.

        Raises:
            DuplicateApiKeyError: its prefix is taken, or the key that it succeeds has a successor.
        """
        try:
            self.save(force_insert=True)
        except NotUniqueError as error:
            raise DuplicateApiKeyError(self.prefix) from error

    @classmethod
    def find_row(cls, prefix: str) -> Mapping[str, Any] | None:
        """Finds a key as it is stored. Every request with a key asks this, so no document is made.

        Times are aware, absent members are missing.
        """
        row: Mapping[str, Any] | None = cls._get_collection().find_one({"_id": prefix})
        return row

    @classmethod
    def find(cls, prefix: str) -> ApiKey | None:
        return cls.objects(prefix=prefix).first()

    @classmethod
    def list_beginning_with(cls, beginning: str, limit: int) -> list[ApiKey]:
        """Lists keys whose prefix begins so."""
        return list(cls.objects(prefix__startswith=beginning).order_by("prefix").limit(limit))

    @classmethod
    def list_all(cls) -> list[ApiKey]:
        """Lists every key, the oldest first."""
        return list(cls.objects.order_by("created_at", "prefix"))

    @classmethod
    def has_live(cls, now: datetime) -> bool:
        """Tells whether there is a key that works now."""
        return cls.objects(__raw__=_live(now)).only("prefix").first() is not None

    @classmethod
    def touch(cls, prefix: str, now: datetime, unless_since: datetime) -> bool:
        """Notes a use, unless one was noted since `unless_since`; tells whether it did."""
        older = {"$or": [{"last_used_at": None}, {"last_used_at": {"$lte": unless_since}}]}
        return bool(cls.objects(prefix=prefix, __raw__=older).update_one(set__last_used_at=now))

    @classmethod
    def revoke(cls, prefix: str, now: datetime) -> bool:
        """Ends a key at once and for good; False where it is revoked already."""
        return bool(cls.objects(prefix=prefix, revoked_at=None).update_one(set__revoked_at=now))

    @classmethod
    def shorten(cls, prefix: str, now: datetime, until: datetime) -> bool:
        """Lets a live key expire at `until`, or earlier where it does; False where it is none."""
        live = cls.objects(prefix=prefix, __raw__=_live(now))
        return bool(live.update_one(min__expires_at=until))


def _live(now: datetime) -> dict[str, Any]:
    # None stands for a member that is not there as well.
    return {"revoked_at": None, "$or": [{"expires_at": None}, {"expires_at": {"$gt": now}}]}
