"""Wake-ups for records that wait."""

from __future__ import annotations

from celery import shared_task

from app import extensions
from app.queue import Task
from app.services import anchoring
from tasks.base import LoggedTask


@shared_task(name=Task.ANCHOR_RECORDS.value, base=LoggedTask)
def anchor_records(record_id: str | None = None) -> None:
    """Anchors what waits, unless somebody has taken this record along already."""
    anchoring.anchor_due(extensions.get().settings.anchor_batch_size, first=record_id)
