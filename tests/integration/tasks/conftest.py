"""An empty world, and workers that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devnet.supervisor import Devnet
from tests.integration.services.lab import PATIENCE, Lab, open_lab
from tests.integration.tasks.workers import Worker


@pytest.fixture
def lab(clean_devnet: Devnet) -> Iterator[Lab]:
    """The services in this process, on an empty database and a chain without faults."""
    with open_lab(clean_devnet) as opened:
        yield opened


@pytest.fixture
def start_worker(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers with these settings above the devnet's own."""
    started: list[Worker] = []

    def start(**settings: str) -> Worker:
        log_path = tmp_path / f"worker-{len(started)}.log"
        # A pool of these few coins is not low.
        calm = {**PATIENCE, "UTXO_MIN_POOL": "1"}
        worker = Worker({**lab.env, **calm, **settings}, log_path)
        started.append(worker)
        worker.wait_until_ready()
        return worker

    yield start
    for worker in started:
        worker.stop()
