"""Production's worker and beat, but beat is faster: `python -m tests.chaos.quick beat ...`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from celery.bin.celery import celery

from tasks.worker import app

QUICK_SECONDS = {
    "sweep-unfinished": 0.3,
    "reap-locks": 0.5,
    "track-transactions": 1.0,
    "sync-pool": 2.0,
    "split-pool": 2.0,
    "sweep-dust": 2.0,
}
# For hosts that share a machine with others: what waits longer than two periods is never done.
STEADY_SECONDS = {
    "sweep-unfinished": 2.0,
    "reap-locks": 4.0,
    "track-transactions": 4.0,
    "sync-pool": 6.0,
    "split-pool": 6.0,
    "sweep-dust": 6.0,
}


def run_celery(words: Sequence[str], periods: Mapping[str, float] = QUICK_SECONDS) -> None:
    """Becomes a worker or beat: from here on it is Celery's own main."""
    for name, seconds in periods.items():
        entry = app.conf.beat_schedule[name]
        entry["schedule"] = seconds
        entry["options"]["expires"] = 2 * seconds
    celery(["-A", "tasks.worker", *words])


if __name__ == "__main__":
    run_celery(sys.argv[1:], STEADY_SECONDS)
