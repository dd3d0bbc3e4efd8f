"""Reads a collection as a stream: plain rows with the fields asked for, whatever their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mongoengine import Document

Row = Mapping[str, Any]

_BATCH_SIZE = 1000


def stream(
    document: type[Document],
    condition: Mapping[str, Any],
    fields: Sequence[str],
    *,
    order: str | None = None,
) -> Iterator[Row]:
    """Yields the rows that a raw filter matches, ordered by a field that has an index.

    Rows are as they are stored, not checked: a damaged one does not end the stream.
    """
    projection = dict.fromkeys(fields, 1)
    cursor = document._get_collection().find(condition, projection, batch_size=_BATCH_SIZE)
    with cursor if order is None else cursor.sort(order, 1) as rows:
        yield from rows
