"""The API under gunicorn, as in production."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from devnet.supervisor.ports import choose_port
from devnet.supervisor.probes import find_http_problem
from devnet.supervisor.site import CHECKOUT

START_SECONDS = 60.0


class Server:
    """A gunicorn that was started; `wait` answers once it serves, or has ended."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
        self.process = process
        self.port = port
        self.base_url = f"http://127.0.0.1:{port}"
        self._log_path = log_path

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    def wait(self) -> int | None:
        """Waits until it serves, or has ended; answers the exit code then."""
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and find_http_problem(self.port, "/health") is not None:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)
        return self.process.returncode


@contextmanager
def serving(env: Mapping[str, str], directory: Path, *, workers: int) -> Iterator[Server]:
    """Starts gunicorn with this environment and nothing else; ends it with the block."""
    port, log_path = choose_port(()), directory / "gunicorn.log"
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", str(workers), "--no-control-socket", "wsgi:app"]
    with (
        log_path.open("ab") as log,
        subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield Server(process, port, log_path)
        finally:
            if process.poll() is None:
                process.terminate()
