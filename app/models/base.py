"""How a status changes: one compare-and-set that names the states it leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from mongoengine import Document, EmbeddedDocument, QuerySet
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from app.domain.clock import utc_now
from app.domain.states import Move

_DUPLICATE_KEY = 11000


class StatefulQuerySet(QuerySet):
    """A query set whose documents change status by events only."""

    def transition(self, event: str, **changes: Any) -> int:
        """Moves the matching documents along `event`; answers how many moved.

        Documents in a state that the event does not leave are untouched. `changes` are MongoEngine
        update operators (`set__x`, `unset__x`, `inc__x`) and skip validation, so they must be
        right already.
        """
        move: Move = self._document.moves[event]
        return int(
            self.filter(status__in=move.sources).update(
                set__status=move.target, set__updated_at=utc_now(), **changes
            )
        )


class StoredDocument(Document):
    """A document that may hold fields which this release does not know.

    During a deployment another release runs beside this one, and after it older rows remain.
    """

    meta: ClassVar[dict[str, Any]] = {"abstract": True, "strict": False}


class StoredPart(EmbeddedDocument):
    """A part of such a document."""

    meta: ClassVar[dict[str, Any]] = {"abstract": True, "strict": False}


class StatefulDocument(StoredDocument):
    """A document with a status and the moves that it allows."""

    meta: ClassVar[dict[str, Any]] = {
        "abstract": True,
        "queryset_class": StatefulQuerySet,
        "auto_create_index": False,
    }
    moves: ClassVar[Mapping[str, Move]] = {}

    @classmethod
    def insert_all(cls, documents: Sequence[Self]) -> list[Self]:
        """Stores new documents in one round trip.

        Answers all but those that have something unique in common with one that is stored.
        """
        if not documents:
            return []
        for document in documents:
            document.validate()
        rows = [document.to_mongo() for document in documents]
        try:
            cls._get_collection().insert_many(rows, ordered=False)
        except BulkWriteError as error:
            problems = (error.details or {}).get("writeErrors", [])
            if not problems or any(p["code"] != _DUPLICATE_KEY for p in problems):
                raise
            taken = {problem["index"] for problem in problems}
            return [each for index, each in enumerate(documents) if index not in taken]
        return list(documents)

    @classmethod
    def transition_each(
        cls, event: str, changes: Iterable[tuple[dict[str, Any], dict[str, Any]]]
    ) -> int:
        """Moves many documents along one event in one round trip, each with its own condition.

        `changes` are pairs of a raw filter and a raw update (`{"$set": ..}`), which may set
        everything but the status. Answers how many documents moved; who did not is found by
        reading.
        """
        move = cls.moves[event]
        now = utc_now()
        operations = [
            UpdateOne(
                {**condition, "status": {"$in": list(move.sources)}},
                _with_set(update, {"status": move.target, "updated_at": now}),
            )
            for condition, update in changes
        ]
        if not operations:
            return 0
        return int(cls._get_collection().bulk_write(operations, ordered=False).modified_count)


def _with_set(update: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    return {**update, "$set": {**update.get("$set", {}), **values}}
