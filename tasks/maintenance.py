"""What beat starts again and again."""

from __future__ import annotations

import logging

from celery import shared_task

from app.clients.outcomes import ClientError
from app.queue import Task
from app.services import reaper, sweeper, tracker
from tasks.base import LoggedTask

logger = logging.getLogger(__name__)


@shared_task(name=Task.SWEEP.value, base=LoggedTask)
def sweep_unfinished() -> None:
    """Takes every unfinished record and transaction one step on."""
    sweeper.sweep()


@shared_task(name=Task.REAP_LOCKS.value, base=LoggedTask)
def reap_locks() -> None:
    """Frees locked outputs whose lease is over."""
    reaper.reap()


@shared_task(name=Task.TRACK_TRANSACTIONS.value, base=LoggedTask)
def track_transactions() -> None:
    """Follows accepted transactions into blocks; the next round comes soon anyway."""
    try:
        tracker.track()
    except ClientError as error:
        logger.warning("tracking waits: %s", error, extra={"event": "tracking.unavailable"})
