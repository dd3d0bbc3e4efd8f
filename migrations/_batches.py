"""Changes many rows in batches: each is small, tells how far it is, and can be the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

SIZE = 1000


class Log(Protocol):
    """What the runner hands to a migration; both ways of calling it stop where the lock is lost."""

    def __call__(self, line: str) -> None: ...

    def progress(self, done: int, total: int | None) -> None: ...


def update_in_batches(
    collection: Any, condition: Mapping[str, Any], update: Mapping[str, Any], log: Log
) -> int:
    """Updates the rows that match, which must not match any more then; answers how many changed."""
    total = collection.count_documents(condition)
    changed = 0
    while True:
        log.progress(changed, total)
        ids = [row["_id"] for row in collection.find(condition, {"_id": 1}).limit(SIZE)]
        if not ids:
            return changed
        selected = {"$and": [{"_id": {"$in": ids}}, condition]}
        done = collection.update_many(selected, update).modified_count
        if not done and collection.count_documents(selected, limit=1):
            raise RuntimeError(f"rows of {collection.name} still match after their update")
        changed += done
