"""What each process of production takes while nobody asks anything, and how soon it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from devnet.supervisor.ports import choose_port
from devnet.supervisor.probes import find_beat_problem, find_http_problem, find_worker_problem
from devnet.supervisor.site import CHECKOUT
from tests.bench.measuring import MEBIBYTE, show
from tests.integration.services.lab import Lab

START_SECONDS = 120.0
COLUMNS = ("", "processes", "RSS MiB", "PSS MiB", "own MiB", "start s", "SIGTERM to exit s")
NODE = "measured@bench"


@contextmanager
def started(
    command: list[str], environ: Mapping[str, str], is_there: Callable[[], bool], log_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs it; the block begins when it is there."""
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env={**os.environ, **environ}, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_there():
            assert process.poll() is None, log_path.read_text()
            assert time.monotonic() < deadline, log_path.read_text()
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def measure(
    name: str,
    command: list[str],
    environ: Mapping[str, str],
    is_there: Callable[[], bool],
    directory: Path,
) -> tuple[object, ...]:
    begun = time.monotonic()
    with started(command, environ, is_there, directory / f"{name}.log") as process:
        start_seconds = time.monotonic() - begun
        leader = psutil.Process(process.pid)
        family = [leader, *leader.children(recursive=True)]
        infos = [each.memory_full_info() for each in family]
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        stop_seconds = time.monotonic() - asked
    sums = [sum(getattr(i, part) for i in infos) / MEBIBYTE for part in ("rss", "pss", "uss")]
    return (name, len(family), *sums, start_seconds, stop_seconds)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_processes(lab: Lab, tmp_path: Path) -> None:
    port, schedule = choose_port(()), tmp_path / "schedule"
    configuration = str(CHECKOUT / "deploy" / "gunicorn.conf.py")
    celery = [sys.executable, "-m", "celery", "-A", "tasks.worker"]
    worker = [*celery, "worker", "--concurrency", "1", "--queues", "anchoring"]
    worker += ["--hostname", NODE, "--without-gossip", "--without-mingle"]
    beat = [*celery, "beat", "--schedule", str(schedule), "--pidfile="]
    web = [sys.executable, "-m", "gunicorn", "--config", configuration, "wsgi:app"]
    environ = {**lab.env, "WEB_BIND": f"127.0.0.1:{port}"}
    signer_port = choose_port((port,))
    signer = {
        "SIGNER_KEYSTORE": str(lab.devnet.directory / "signer" / "keystore.json"),
        "SIGNER_PASSPHRASE_FILE": str(lab.devnet.directory / "secrets" / "signer_passphrase"),
        "SIGNER_NETWORK": "regtest",
        "SIGNER_PORT": str(signer_port),
        "KMS_API_KEY": "k" * 32,
    }

    def answers(at: int, path: str) -> Callable[[], bool]:
        return lambda: find_http_problem(at, path) is None

    rows = [
        measure("web", web, environ, answers(port, "/ready"), tmp_path),
        measure(
            "worker",
            worker,
            environ,
            lambda: find_worker_problem(lab.env["REDIS_URL"], NODE) is None,
            tmp_path,
        ),
        measure("beat", beat, environ, lambda: find_beat_problem(schedule) is None, tmp_path),
        measure(
            "signer",
            [sys.executable, "-m", "signer", "serve"],
            signer,
            answers(signer_port, "/health"),
            tmp_path,
        ),
    ]

    show("Processes of production, idle: web with 2 workers, worker with 1 child", COLUMNS, rows)
