"""The application in processes of its own, as in production."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devnet.supervisor.ports import choose_port
from devnet.supervisor.probes import find_http_problem
from devnet.supervisor.site import CHECKOUT

START_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """A service that runs: its address, and the process that started the workers."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def gunicorn(env: Mapping[str, str], log_path: Path, workers: int) -> Iterator[Server]:
    """Runs so many workers with four threads each."""
    port = choose_port(())
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", str(workers), "--worker-class", "gthread", "--threads", "4"]
    command += ["--no-control-socket", "wsgi:app"]
    with (
        log_path.open("ab") as log,
        subprocess.Popen(
            command, cwd=CHECKOUT, env={**os.environ, **env}, stdout=log, stderr=log
        ) as server,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while find_http_problem(port, "/ready") is not None:
                assert time.monotonic() < deadline, log_path.read_text()
                time.sleep(0.1)
            yield Server(port, server.pid)
        finally:
            server.terminate()
