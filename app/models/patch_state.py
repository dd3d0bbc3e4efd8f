"""Where a patch stands: its current head and owner. Derived from records, can be rebuilt."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar

from mongoengine import DateTimeField, ObjectIdField, StringField
from pymongo import DeleteOne, UpdateOne

from app.domain.clock import utc_now
from app.domain.records import RecordKind
from app.models.base import StoredDocument
from app.models.record import AuthenticationRecord
from app.models.transaction import AnchoredField


class PatchState(StoredDocument):
    """The head of a patch's line of custody. Its `_id` is the uid."""

    uid_tag_id = StringField(primary_key=True)
    head = StringField(required=True)
    owner = StringField(required=True)
    record_id = ObjectIdField(required=True)
    updated_at = DateTimeField(default=utc_now)

    meta: ClassVar[dict[str, Any]] = {
        "collection": "patch_states",
        "indexes": [{"fields": ["head"], "unique": True}],
        "auto_create_index": False,
    }

    @classmethod
    def find(cls, uid_tag_id: str) -> PatchState | None:
        return cls.objects(uid_tag_id=uid_tag_id).first()

    @classmethod
    def find_all(cls, uid_tag_ids: Collection[str]) -> dict[str, PatchState]:
        """Answers the states of these patches by uid."""
        found = cls.objects(uid_tag_id__in=list(uid_tag_ids)) if uid_tag_ids else ()
        return {state.uid_tag_id: state for state in found}

    @classmethod
    def advance_each(cls, records: Sequence[AnchoredField]) -> None:
        """Moves heads along anchored records, each on condition that it continues the head.

        A repeat changes nothing: a registration only inserts, and a transfer finds the head gone.
        """
        operations = [_advance(record) for record in records]
        if operations:
            cls._get_collection().bulk_write(operations, ordered=False)

    @classmethod
    def retreat_each(
        cls, records: Iterable[tuple[AnchoredField, AuthenticationRecord | None]]
    ) -> None:
        """Moves heads back from records to the ones before, or takes them away without one.

        Each on condition that it still stands there; a repeat changes nothing.
        """
        operations = [_retreat(record, previous) for record, previous in records]
        if operations:
            cls._get_collection().bulk_write(operations, ordered=False)


def _advance(record: AnchoredField) -> UpdateOne:
    state = {
        "head": record.head,
        "owner": record.owner,
        "record_id": record.record_id,
        "updated_at": utc_now(),
    }
    if record.kind == RecordKind.REGISTRATION:
        return UpdateOne({"_id": record.uid_tag_id}, {"$setOnInsert": state}, upsert=True)
    return UpdateOne({"_id": record.uid_tag_id, "head": record.prev_head}, {"$set": state})


def _retreat(record: AnchoredField, previous: AuthenticationRecord | None) -> UpdateOne | DeleteOne:
    here = {"_id": record.uid_tag_id, "head": record.head}
    if previous is None:
        return DeleteOne(here)
    state = {
        "head": previous.head,
        "owner": previous.owner,
        "record_id": previous.id,
        "updated_at": utc_now(),
    }
    return UpdateOne(here, {"$set": state})
