"""Upkeep of what is known about the whole: invariants and totals."""

from __future__ import annotations

import logging

from celery import shared_task

from app.errors import LockHeldError
from app.queue import Task
from app.services import checkup
from tasks.base import LoggedTask

logger = logging.getLogger(__name__)


@shared_task(name=Task.CHECK_INVARIANTS.value, base=LoggedTask)
def check_invariants() -> None:
    """Checks the invariants and counts what there is; what it finds is read from `/metrics`."""
    try:
        checkup.run()
    except LockHeldError as error:
        logger.info("the checkup waits: %s", error, extra={"event": "checkup.locked"})
