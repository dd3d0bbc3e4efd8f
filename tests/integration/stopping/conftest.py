"""An empty world, and processes that are to end in the middle of their work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devnet.supervisor import Devnet
from tests.integration.services.lab import PATIENCE, Lab, open_lab
from tests.integration.tasks.workers import Worker

# A slow answer is waited for, and a pool of these few coins is not low.
SLOW = {**PATIENCE, "WOC_TIMEOUT_MS": "60000", "UTXO_MIN_POOL": "1"}


@pytest.fixture
def lab(clean_devnet: Devnet) -> Iterator[Lab]:
    """The services in this process, on an empty database and a chain without faults."""
    with open_lab(clean_devnet) as opened:
        yield opened


@pytest.fixture
def start_worker(lab: Lab, tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    """Starts workers that wait for a slow chain."""
    started: list[Worker] = []

    def start() -> Worker:
        log_path = tmp_path / f"worker-{len(started)}.log"
        started.append(Worker({**lab.env, **SLOW}, log_path))
        started[-1].wait_until_ready()
        return started[-1]

    yield start
    for worker in started:
        worker.stop()
