"""Upkeep of the pool. One at a time across hosts; whoever finds the lock held leaves it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import shared_task

from app.clients.outcomes import ClientError
from app.errors import LockHeldError, PatchProofError
from app.queue import Task
from app.services import fees, fuel_gauge, pool_split, pool_sweep, pool_sync
from tasks.base import LoggedTask

logger = logging.getLogger(__name__)


@shared_task(name=Task.SYNC_POOL.value, base=LoggedTask)
def sync_pool() -> None:
    """Makes the pool agree with the chain, and warns before it runs dry."""
    _attempt("sync", pool_sync.sync)
    fuel_gauge.warn()


@shared_task(name=Task.SPLIT_POOL.value, base=LoggedTask)
def split_pool() -> None:
    """Fills the pool up where it is below its low water mark."""
    _attempt("split", pool_split.split)


@shared_task(name=Task.SWEEP_DUST.value, base=LoggedTask)
def sweep_dust() -> None:
    """Gathers the dust, then fills the pool up."""
    _attempt("sweep", pool_sweep.sweep_dust)
    _attempt("split", pool_split.split)


@shared_task(name=Task.REFRESH_FEE.value, base=LoggedTask)
def refresh_fee() -> None:
    """Asks the network what a kilobyte costs."""
    fees.refresh()


def _attempt(what: str, work: Callable[[], Any]) -> None:
    """Runs upkeep that the next round makes up for when it can't be done now."""
    try:
        work()
    except LockHeldError as error:
        logger.info("%s waits: %s", what, error, extra={"event": "pool.locked"})
    except (ClientError, PatchProofError) as error:
        logger.warning("%s waits: %s", what, error, extra={"event": "pool.waits", "what": what})
