"""What runs when. A round that is missed is made up by the next one."""

from __future__ import annotations

from typing import Any

from app.queue import QUEUE_OF_TASK, Task

_SECONDS = {
    Task.SWEEP: 10.0,
    Task.REAP_LOCKS: 60.0,
    Task.TRACK_TRANSACTIONS: 10.0,
}

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    task.value: {
        "task": task.value,
        "schedule": seconds,
        # A round that waited longer than its period is of no use: the next one is there.
        "options": {"queue": QUEUE_OF_TASK[task].value, "expires": seconds},
    }
    for task, seconds in _SECONDS.items()
}
