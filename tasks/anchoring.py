"""Wake-ups for records that wait."""

from __future__ import annotations

from celery import shared_task

from app import extensions
from app.queue import Task, begin, wake
from app.services import anchoring
from tasks.base import LoggedTask


@shared_task(name=Task.ANCHOR_RECORDS.value, base=LoggedTask)
def anchor_records(record_id: str | None = None) -> None:
    """Anchors what waits, up to a batch; where that was not all, another task takes the rest.

    `record_id` is what messages of earlier releases carry.
    """
    begin(Task.ANCHOR_RECORDS)
    limit = extensions.get().settings.anchor_batch_size
    if anchoring.anchor_due(limit).is_full:
        wake(Task.ANCHOR_RECORDS)
