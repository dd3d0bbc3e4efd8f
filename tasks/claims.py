"""Claims at the till reach their end without anybody asking."""

from __future__ import annotations

from celery import shared_task

from app.queue import Task
from app.services import claims
from tasks.base import LoggedTask


@shared_task(name=Task.SETTLE_CLAIMS.value, base=LoggedTask)
def settle_claims() -> None:
    """Ends claims whose time or whose record is over, and gives those without a record theirs."""
    claims.settle_due()
