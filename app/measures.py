"""What is counted and timed while the service runs, in the names that monitoring knows.

Counting costs an addition in memory and never fails. `app/services/measuring.py` carries it to
Redis, where the numbers of every process of every host come together. Requests of HTTP alone are
counted by host, in app/api/http_metrics.py.

Labels have few values: never an id, an address, a path as it was asked for or the words of an
error. Nothing here knows Redis, HTTP or Celery, so everything may use it.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# A series: the metric's name, a part of it (below) and the values of its labels.
Series = tuple[str, ...]
COUNT, SUM = "", "sum"


@dataclass(frozen=True)
class Measured:
    """Amounts to be added, and moments (Unix seconds) of which the latest counts."""

    amounts: Mapping[Series, float]
    moments: Mapping[Series, float]


class _Buffer:
    """What this process has measured and nobody has carried away yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._amounts: dict[Series, float] = {}
        self._moments: dict[Series, float] = {}

    def add(self, amounts: Mapping[Series, float]) -> None:
        with self._lock:
            for series, amount in amounts.items():
                self._amounts[series] = self._amounts.get(series, 0.0) + amount

    def mark(self, series: Series, moment: float) -> None:
        with self._lock:
            self._moments[series] = max(moment, self._moments.get(series, 0.0))

    def take(self) -> Measured:
        with self._lock:
            taken = Measured(self._amounts, self._moments)
            self._amounts, self._moments = {}, {}
        return taken


_buffers = [_Buffer()]


def _forget() -> None:
    """A child counts for itself: what its parent had counted, the parent carries away."""
    _buffers[:] = [_Buffer()]


os.register_at_fork(after_in_child=_forget)


def take() -> Measured:
    """Hands over what was measured since the last time."""
    return _buffers[0].take()


def give_back(taken: Measured) -> None:
    """Takes back what could not be carried away."""
    _buffers[0].add(taken.amounts)
    for series, moment in taken.moments.items():
        _buffers[0].mark(series, moment)


@dataclass(frozen=True)
class Count:
    """How often something happened; a counter."""

    name: str
    text: str
    labels: Sequence[str] = ()

    def add(self, *values: str, amount: float = 1.0) -> None:
        """Adds to the series with these values of the labels, in their order."""
        _buffers[0].add({(self.name, COUNT, *values): amount})


@dataclass(frozen=True)
class Durations:
    """How many seconds something took; a histogram with these upper bounds."""

    name: str
    text: str
    bounds: Sequence[float]
    labels: Sequence[str] = ()

    def observe(self, seconds: float, *values: str) -> None:
        """Adds one to the bucket, the last of which is for what is above every bound."""
        bucket = str(bisect_left(self.bounds, seconds))
        _buffers[0].add({(self.name, bucket, *values): 1.0, (self.name, SUM, *values): seconds})


@dataclass(frozen=True)
class Moment:
    """When something happened for the last time, in Unix seconds; a gauge."""

    name: str
    text: str
    labels: Sequence[str] = ()

    def mark(self, *values: str) -> None:
        """Notes that it happens now."""
        _buffers[0].mark((self.name, COUNT, *values), time.time())


TASKS = Count(
    "patchproof_tasks_total", "Tasks of the workers, by how they ended.", ("task", "outcome")
)
TASK_SECONDS = Durations(
    "patchproof_task_seconds",
    "How long tasks took.",
    (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
    ("task",),
)
TASK_DONE = Moment(
    "patchproof_task_last_done_timestamp_seconds",
    "When a task was last done without an error.",
    ("task",),
)
BEAT_SENT = Moment(
    "patchproof_beat_last_sent_timestamp_seconds", "When beat last started a periodic task."
)
CALL_SECONDS = Durations(
    "patchproof_outside_call_seconds",
    "How long one try of a call to an outside service took, by how it ended.",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0),
    ("service", "outcome"),
)
BROADCASTS = Count(
    "patchproof_broadcasts_total",
    "Answers to broadcasts, one for each transaction and broadcaster that was asked.",
    ("broadcaster", "outcome", "reason"),
)
SWEPT = Count(
    "patchproof_sweeper_steps_total",
    "Steps of the sweeper: work that nobody else had finished.",
    ("step",),
)
CODES = Count(
    "patchproof_code_logins_total", "Logins by a mailed code, by what became of them.", ("outcome",)
)
CPU_SECONDS = Count(
    "patchproof_process_cpu_seconds_total",
    "Processor time of all processes of a kind.",
    ("service",),
)

COUNTS = (TASKS, BROADCASTS, SWEPT, CODES, CPU_SECONDS)
DURATIONS = (TASK_SECONDS, CALL_SECONDS)
MOMENTS = (TASK_DONE, BEAT_SENT)
