"""Which changes of the database have been made, with the log of each; one document a migration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from mongoengine import DateTimeField, DictField, ListField, StringField

from app.models.base import StoredDocument

_FAILURES_KEPT = 10


@dataclass(frozen=True)
class MigrationRun:
    """One run of one migration, as whoever ran it tells it. `checksum` is its file's SHA-256."""

    name: str
    checksum: str
    started_at: datetime
    ended_at: datetime
    release: str
    host: str
    log: Sequence[str]


class AppliedMigration(StoredDocument):
    """A migration. Its `_id` is its name. It is applied once it has `ended_at`, and not before.

    `failures` are runs that ended with an error; of one that was killed nothing is left, and it is
    made again in either case.
    """

    name = StringField(primary_key=True)
    checksum = StringField()
    started_at = DateTimeField()
    ended_at = DateTimeField()
    release = StringField()
    host = StringField()
    log = ListField(StringField())
    failures = ListField(DictField())

    meta: ClassVar[dict[str, Any]] = {"collection": "migrations", "auto_create_index": False}

    @classmethod
    def list_all(cls) -> list[AppliedMigration]:
        """Lists what is known of migrations, in their order."""
        return list(cls.objects.order_by("name"))

    @classmethod
    def put(cls, run: MigrationRun) -> None:
        """Notes that a migration is whole."""
        values = _values(run)
        cls._get_collection().update_one({"_id": run.name}, {"$set": values}, upsert=True)

    @classmethod
    def put_failure(cls, run: MigrationRun, error: str) -> None:
        """Notes that a run has failed; the migration stays to be made."""
        failure = {**_values(run), "error": error}
        change = {"$push": {"failures": {"$each": [failure], "$slice": -_FAILURES_KEPT}}}
        cls._get_collection().update_one({"_id": run.name}, change, upsert=True)


def _values(run: MigrationRun) -> Mapping[str, Any]:
    return {
        "checksum": run.checksum,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "release": run.release,
        "host": run.host,
        "log": list(run.log),
    }
