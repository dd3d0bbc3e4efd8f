"""Operator's knobs and small facts that outlive a process: one document a key."""

from __future__ import annotations

from typing import Any, ClassVar

from mongoengine import DateTimeField, Document, DynamicField, StringField

from app.domain.clock import utc_now

CHAIN_TIP = "CHAIN_TIP"
FEE_PER_KB = "FEE_PER_KB"


class Setting(Document):
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
    def put(cls, key: str, value: Any) -> None:
        cls.objects(key=key).update_one(set__value=value, set__updated_at=utc_now(), upsert=True)
