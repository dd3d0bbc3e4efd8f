"""A patch's line of custody as a reader sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.custody import BrokenLineError, order_line
from app.errors import InconsistentStateError
from app.services import custody_lines


@dataclass(frozen=True)
class CustodyEvent:
    """One record of the line; `txid` is its head, `anchor_txid` the transaction that carries it.

    `moved_by` is on whose word its owner got the patch. `owner` is None where they had it erased;
    `erased` names all that was.
    """

    kind: str
    txid: str
    anchor_txid: str
    prev_txid: str | None
    owner: str | None
    moved_by: str
    erased: Sequence[str]
    occurred_at: datetime
    block_height: int | None
    confirmations: int | None


def list_custody(uid_tag_id: str) -> list[CustodyEvent]:
    """Lists the line of custody, oldest first.

    Raises:
        NotFoundError: no patch has this uid.
        InconsistentStateError: the records do not form a line.
    """
    stored = custody_lines.load(uid_tag_id)
    try:
        line = order_line(stored.links(), stored.state.head)
    except BrokenLineError as error:
        raise InconsistentStateError(str(error)) from error
    events = []
    for link in line:
        record = stored.records[link.head]
        depth = stored.depth(link.head)
        events.append(
            CustodyEvent(
                kind=record.kind,
                txid=record.head,
                anchor_txid=record.txid,
                prev_txid=link.prev_head,
                owner=record.owner,
                moved_by=link.content.moved_by,
                erased=sorted(link.content.erased),
                occurred_at=record.created_at,
                block_height=depth.block_height,
                confirmations=depth.confirmations,
            )
        )
    return events
