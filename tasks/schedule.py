"""What runs when. A round that is missed is made up by the next one."""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab

from app.queue import QUEUE_OF_TASK, Task

_SECONDS = {
    Task.SWEEP: 10.0,
    Task.REAP_LOCKS: 60.0,
    Task.TRACK_TRANSACTIONS: 10.0,
    Task.SYNC_POOL: 900.0,
    Task.SPLIT_POOL: 900.0,
    # Well within FEE_POLICY_MAX_AGE_SECONDS, so that one silent answer changes nothing.
    Task.REFRESH_FEE: 240.0,
}
_HOUR_SECONDS = 3600.0


def _entry(task: Task, schedule: Any, expires: float) -> dict[str, Any]:
    # A round that waited longer than its period is of no use: the next one is there.
    options = {"queue": QUEUE_OF_TASK[task].value, "expires": expires}
    return {"task": task.value, "schedule": schedule, "options": options}


BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    task.value: _entry(task, seconds, seconds) for task, seconds in _SECONDS.items()
} | {
    # At a time of day: a period of a day would never end for a beat that is restarted daily.
    Task.SWEEP_DUST.value: _entry(
        Task.SWEEP_DUST, crontab(hour="2", minute="0"), 12 * _HOUR_SECONDS
    ),
}
