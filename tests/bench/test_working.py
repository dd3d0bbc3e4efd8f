"""The same as `test_anchoring.py` in a true Celery worker, woken as the records come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from bson import ObjectId

from app import extensions
from app.queue import Queue
from devnet.supervisor.probes import find_worker_problem
from devnet.supervisor.site import CHECKOUT
from tests.bench.measuring import MEMORY_COLUMNS, Cost, cpu_of, memory, middle, show
from tests.integration.services.lab import Lab

BROADCASTERS = ("arc", "whatsonchain")
BATCH = 100
RECORDS = 100
ROUNDS = 3
COINS = 250
COIN_SATOSHIS = 50_000
PATIENCE_SECONDS = 60.0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_anchoring_in_a_worker(lab: Lab, tmp_path: Path) -> None:
    """From the first message to the last confirmation, and the CPU of the worker's processes."""
    lab.fill_pool(COINS, COIN_SATOSHIS)
    rows = []
    for broadcaster in BROADCASTERS:
        settings = {"BROADCASTERS": broadcaster, "ANCHOR_BATCH_SIZE": str(BATCH)}
        lab.configure(**settings)
        with _worker(lab, settings, tmp_path / "worker.log") as processes:
            costs = [
                _work(lab, processes, f"NFC-{broadcaster}-{number}") for number in range(ROUNDS + 1)
            ]
            sizes = [memory([process]) for process in processes]
        # The first round opens the worker's connections.
        cost = middle(costs[1:])
        name = f"{broadcaster}, passes of up to {BATCH}"
        rows.append([name, cost.per_second, cost.milliseconds, cost.cpu_milliseconds])
    show(
        f"Anchoring {RECORDS} records in one Celery worker, woken as they came",
        ["", "tx/s", "ms/tx", "CPU ms/tx of the worker"],
        rows,
    )
    show(
        "Memory of that worker",
        ["", *MEMORY_COLUMNS],
        [["leader", *sizes[0]], ["child", *sizes[1]]],
    )


def _work(lab: Lab, processes: Sequence[psutil.Process], prefix: str) -> Cost:
    # It must find all of them waiting, as under load.
    _signal(processes, signal.SIGSTOP)
    ids = [record.id for record in lab.register_many(RECORDS, prefix)]
    clock = cpu_of(processes)
    cpu_started, started_at = clock(), datetime.now(UTC)
    _signal(processes, signal.SIGCONT)
    _wait(lambda: _is_done(lab, ids))
    newest = lab.collection("authentication_records").find_one({"_id": {"$in": ids}}, sort=_NEWEST)
    seconds = (newest["confirmed_at"] - started_at).total_seconds()
    return Cost(seconds * 1000 / RECORDS, (clock() - cpu_started) * 1000 / RECORDS)


_NEWEST = [("confirmed_at", -1)]


def _is_done(lab: Lab, ids: Sequence[ObjectId]) -> bool:
    """Whether every record is confirmed and every message was taken and acknowledged."""
    shared = extensions.get().redis
    if shared.llen(Queue.ANCHORING.value) or shared.hlen("unacked"):
        return False
    mine = {"_id": {"$in": list(ids)}, "status": "confirmed"}
    return bool(lab.collection("authentication_records").count_documents(mine) == RECORDS)


@contextmanager
def _worker(
    lab: Lab, settings: dict[str, str], log_path: Path
) -> Iterator[Sequence[psutil.Process]]:
    """A worker with one child, as in production; answers both processes."""
    node = "worker@bench"
    command = [sys.executable, "-m", "celery", "-A", "tasks.worker", "worker"]
    command += ["--concurrency", "1", "--queues", Queue.ANCHORING.value, "--hostname", node]
    command += ["--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    environment = {**os.environ, **lab.env, **settings}
    with (
        log_path.open("ab") as log,
        subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=log, stderr=log) as leader,
    ):
        try:
            _wait(lambda: find_worker_problem(lab.env["REDIS_URL"], node) is None)
            process = psutil.Process(leader.pid)
            yield [process, *process.children()]
        finally:
            leader.terminate()


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        process.send_signal(number)


def _wait(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_done():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.1)
