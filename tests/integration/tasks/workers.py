"""Real Celery workers, started as in production and ended as crashes do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 60.0
WORKER = [sys.executable, "-m", "celery", "-A", "tasks.worker", "worker", "--concurrency", "1"]
QUEUES = ["--queues", "anchoring,maintenance,mail", "--without-gossip", "--without-mingle"]
# Celery says at this level that it is ready.
LOG_LEVEL = ["--loglevel", "INFO"]


class Worker:
    """A worker process with one child, and its log."""

    def __init__(self, environment: Mapping[str, str], log_path: Path) -> None:
        self.log_path = log_path
        log_path.touch()
        with log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*WORKER, *QUEUES, *LOG_LEVEL, "--hostname", f"{log_path.stem}@test"],
                cwd=ROOT,
                env={**_own_environment(), **environment},
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Returns when the worker takes tasks."""
        wait_for(lambda: " ready" in self.log_path.read_text() or self._ended(), START_SECONDS)

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log lines of this event."""
        lines = [
            json.loads(line)
            for line in self.log_path.read_text().splitlines()
            if line.startswith("{")
        ]
        return [line for line in lines if line.get("event") == event]

    def kill_child(self) -> None:
        """Ends the process that runs the tasks, as the kernel does when memory is short."""
        for child in psutil.Process(self.process.pid).children():
            child.kill()

    def kill(self) -> None:
        """Ends everything at once, as a power cut does."""
        family = [*psutil.Process(self.process.pid).children(recursive=True)]
        self.process.kill()
        for child in family:
            child.kill()
        self.process.wait()

    def stop(self) -> None:
        """Lets it finish its task and end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.kill()

    def _ended(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the worker has ended: {self.log_path.read_text()}")
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Returns when the condition holds; the test fails when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it has not happened in time")
        time.sleep(0.05)


def _own_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
