"""The same kills with true Celery workers, and a true worker and beat to clear up after them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from celery import Celery

from app.queue import Queue
from app.services import pool_sync
from tests.chaos.processes import REQUESTS, Job, Zygote, members, wait_until
from tests.chaos.stages import Play, Stage
from tests.chaos.steps import Theatre, list_unfinished
from tests.integration.services.lab import Lab

# Short, so that what a dead worker has leased is soon free again.
LEASES = {"CLAIM_LEASE_SECONDS": "1", "TRACK_INTERVAL_SECONDS": "1", "CIRCUIT_SECONDS": "1"}
DEATH_SECONDS = 30.0
RECOVERY_SECONDS = 60.0
_numbers = count(1)


class WorkerTheatre(Theatre):
    """Jobs run in a worker that dies as a whole; a new worker and beat mend what it leaves."""

    def __init__(self, lab: Lab, zygote: Zygote, directory: Path, *, in_a_row: int = 1) -> None:
        super().__init__(lab, zygote, directory, in_a_row=in_a_row)
        self._schedule = directory / "schedule"

    def perform(self, job: Job) -> int:
        """Has the task done by a worker that dies; answers how that ended, 0 if it does not."""
        if job.point is None or job.task in REQUESTS:
            return super().perform(job)
        queue = f"chaos-{next(_numbers)}"
        pid = self.zygote.start(
            replace(worker(queue), point=job.point, end="kill_with_parent", trace=job.trace)
        )
        with Celery(broker=self.lab.env["REDIS_URL"], set_as_current=False) as celery:
            celery.send_task(job.task, kwargs=dict(job.arguments), queue=queue)
        code = self.zygote.wait_for(pid, seconds=DEATH_SECONDS)
        if code is None:
            self.zygote.kill(pid)
            return 0
        wait_until(lambda: not members(pid), what="the end of the worker's child")
        return code

    def clear_up(self, stage: Stage, plays: Sequence[Play]) -> None:
        """Starts a worker and beat, and waits until they have brought everything to its end."""
        with self.restarted():
            wait_until(
                lambda: not list_unfinished(self.lab) and all(play.must_end() for play in plays),
                seconds=RECOVERY_SECONDS,
                what="everything at its end",
            )
        if stage.is_synced:
            pool_sync.sync()

    @contextmanager
    def restarted(self, *, is_gentle: bool = True) -> Iterator[None]:
        """A worker and beat while the body runs; a gentle end lets the worker finish its task."""
        for path in self._schedule.parent.glob(f"{self._schedule.name}*"):
            path.unlink()
        beat = ["beat", "--schedule", str(self._schedule), "--pidfile=", "--loglevel", "INFO"]
        worker_pid = self.zygote.start(worker(*(queue.value for queue in Queue)))
        beat_pid = self.zygote.start(Job(celery=beat))
        try:
            yield
        finally:
            self.zygote.kill(beat_pid)
            self._end(worker_pid, is_gentle=is_gentle)

    def _end(self, worker_pid: int, *, is_gentle: bool) -> None:
        if is_gentle:
            os.kill(worker_pid, signal.SIGTERM)
            if self.zygote.wait_for(worker_pid, seconds=DEATH_SECONDS) is not None:
                return
        self.zygote.kill(worker_pid)


def worker(*queues: str) -> Job:
    """A Celery worker with one child."""
    words = ["worker", "--concurrency", "1", "--queues", ",".join(queues)]
    words += ["--hostname", f"{queues[0]}@chaos", "--loglevel", "INFO"]
    return Job(celery=[*words, "--without-gossip", "--without-mingle"])
