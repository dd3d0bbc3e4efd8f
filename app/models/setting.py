"""Operator's knobs and small facts that outlive a process: one document a key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from mongoengine import DateTimeField, DynamicField, NotUniqueError, StringField
from pymongo import WriteConcern
from pymongo.database import Database

from app.domain.clock import utc_now
from app.models.base import StoredDocument

CHAIN_TIP = "CHAIN_TIP"
# What the last checkup found of invariants and totals.
CHECKUP = "CHECKUP"
FEE_PER_KB = "FEE_PER_KB"
# What the broadcaster asks for a kilobyte; `updated_at` says when it said so.
FEE_POLICY = "FEE_POLICY"
# When the pool was last made to agree with the chain.
POOL_SYNCED = "POOL_SYNCED"
# Who may split the pool, until when, and when the last split ended.
SPLIT_LEASE = "SPLIT_LEASE"
# When the database came out of a dump that nobody has compared with the chain yet.
RESTORED = "RESTORED"
# Since then: that the chain has a batch whose records nobody can name.
UNCERTAIN = "RESTORED_UNCERTAIN"


def write_nothing(database: Database[Any], *, wait_ms: int) -> None:
    """Writes nothing, and has a majority acknowledge it within so many milliseconds."""
    collection = database["settings"].with_options(
        write_concern=WriteConcern(w="majority", j=True, wtimeout=wait_ms)
    )
    collection.update_one({"_id": "start-check"}, {"$unset": {"value": ""}})


class Setting(StoredDocument):
    """A named value that changes without a restart."""

    key = StringField(required=True)
    value = DynamicField()
    updated_at = DateTimeField(default=utc_now)

    meta: ClassVar[dict[str, Any]] = {
        "collection": "settings",
        "indexes": [{"fields": ["key"], "unique": True}],
        "auto_create_index": False,
    }

    @classmethod
    def find_value(cls, key: str) -> Any:
        """Answers the value, or None where the key is not set."""
        row = cls.objects(key=key).first()
        return None if row is None else row.value

    @classmethod
    def find_all(cls, keys: Sequence[str]) -> dict[str, Setting]:
        """Answers those of these settings that exist, by key, in one query."""
        return {row.key: row for row in cls.objects(key__in=list(keys))}

    @classmethod
    def put(cls, key: str, value: Any) -> None:
        cls.objects(key=key).update_one(set__value=value, set__updated_at=utc_now(), upsert=True)

    @classmethod
    def delete_key(cls, key: str) -> bool:
        """Forgets a setting, so that the environment counts again."""
        return bool(cls.objects(key=key).delete())

    @classmethod
    def take_lease(cls, key: str, owner: str, now: datetime, until: datetime) -> bool:
        """Takes or renews a lease; tells whether `owner` has it now.

        A lease that has run out may be taken by anyone, one that has not only by its owner.
        """
        free = {"$or": [{"value.until": {"$lte": now}}, {"value.owner": owner}]}
        try:
            changed = cls.objects(key=key, __raw__=free).update_one(
                set__value__owner=owner,
                set__value__until=until,
                set__updated_at=now,
                upsert=True,
            )
        except NotUniqueError:
            # The key is there and somebody else's: the upsert could only have doubled it.
            return False
        return bool(changed)

    @classmethod
    def end_lease(cls, key: str, owner: str, now: datetime, **facts: Any) -> bool:
        """Gives a lease back, keeping `facts` beside it."""
        changes = {f"set__value__{name}": value for name, value in facts.items()}
        return bool(
            cls.objects(key=key, __raw__={"value.owner": owner}).update_one(
                set__value__until=now, set__updated_at=now, **changes
            )
        )
