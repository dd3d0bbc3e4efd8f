"""Takes fields out of transactions that no release writes or reads any more.

`satoshis_per_kilobyte` was the rate that a transaction was made for, `is_underpaid` marked one that
was refused for it. Documents ignore fields that they don't know, so this release and the one before
read the rows alike, with the fields and without.
"""

from __future__ import annotations

from typing import Any

from migrations._batches import Log, update_in_batches

_FIELDS = ("satoshis_per_kilobyte", "is_underpaid")


def up(database: Any, log: Log) -> None:
    """Unsets the fields where they are."""
    for field in _FIELDS:
        changed = update_in_batches(
            database["transactions"], {field: {"$exists": True}}, {"$unset": {field: 1}}, log
        )
        log(f"{field}: taken out of {changed} transactions")
