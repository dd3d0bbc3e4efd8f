"""What runs when. A round that is missed is made up by the next one."""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab

from app.config import Settings
from app.queue import QUEUE_OF_TASK, Task

_LONGEST_TRACK_SECONDS = 10.0
_HOUR_SECONDS = 3600.0


def beat_schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """The schedule as Celery wants it, by the name of the task."""
    periods = {
        Task.SWEEP: float(settings.sweep_interval_seconds),
        Task.SWEEP_MAILS: float(settings.sweep_interval_seconds),
        Task.REAP_LOCKS: 60.0,
        Task.SWEEP_ERASURES: float(settings.sweep_interval_seconds),
        Task.SETTLE_CLAIMS: float(settings.sweep_interval_seconds),
        Task.TRACK_TRANSACTIONS: min(_LONGEST_TRACK_SECONDS, settings.track_interval_seconds),
        Task.SYNC_POOL: 900.0,
        Task.SPLIT_POOL: 900.0,
        # Well within FEE_POLICY_MAX_AGE_SECONDS, so that one silent answer changes nothing.
        Task.REFRESH_FEE: 240.0,
        Task.CHECK_INVARIANTS: float(settings.invariants_interval_seconds),
    }
    # At a time of day: a period of a day would never end for a beat that is restarted daily.
    at_night = crontab(hour="2", minute="0")
    return {
        **{task.value: _entry(task, seconds, seconds) for task, seconds in periods.items()},
        Task.SWEEP_DUST.value: _entry(Task.SWEEP_DUST, at_night, 12 * _HOUR_SECONDS),
    }


def _entry(task: Task, schedule: Any, expires: float) -> dict[str, Any]:
    # A round that waited longer than its period is of no use: the next one is there.
    options = {"queue": QUEUE_OF_TASK[task].value, "expires": expires}
    return {"task": task.value, "schedule": schedule, "options": options}
