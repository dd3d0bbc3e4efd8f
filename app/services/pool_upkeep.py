"""The whole round: sync, then sweep, then split, under one lock."""

from __future__ import annotations

from dataclasses import dataclass

from app.services import pool_split, pool_sweep, pool_sync
from app.services.maintenance import exclusive
from app.services.pool_split import SplitReport
from app.services.pool_sweep import SweepReport
from app.services.pool_sync import SyncReport
from app.services.reshaping import OnProgress, unwatched


@dataclass(frozen=True)
class UpkeepReport:
    """What each step did."""

    sync: SyncReport
    sweep: SweepReport
    split: SplitReport


def maintain(*, on_progress: OnProgress = unwatched) -> UpkeepReport:
    """Does all three, each on what the one before has left.

    Raises:
        LockHeldError: somebody else maintains the pool.
        Whatever a step raises; the steps before it are done.
    """
    with exclusive() as guard:
        return UpkeepReport(
            sync=pool_sync.sync_under(guard, on_progress=on_progress),
            sweep=pool_sweep.sweep_dust_under(guard, on_progress=on_progress),
            split=pool_split.split_under(guard, on_progress=on_progress),
        )
