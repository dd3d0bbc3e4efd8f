"""The application behind what production puts around it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from app import extensions
from app.config import load_settings
from devnet.supervisor import Devnet
from devnet.supervisor.ports import choose_port
from devnet.supervisor.probes import find_http_problem
from devnet.supervisor.site import CHECKOUT

CONFIGURATION = CHECKOUT / "deploy" / "gunicorn.conf.py"


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Returns when the condition holds; fails when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not happened in time"
        time.sleep(0.05)


class Web:
    """gunicorn as production configures it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
        self.process = process
        self.port = port
        self.log_path = log_path

    def end(self) -> int:
        """Ends it as systemd does; answers the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(
    env: Mapping[str, str], log_path: Path, *options: str, application: str = "wsgi:app"
) -> Iterator[Web]:
    """Starts gunicorn with the file of production and waits until it is ready."""
    port = choose_port(())
    environment = {**os.environ, **env, "WEB_BIND": f"127.0.0.1:{port}"}
    command = [sys.executable, "-m", "gunicorn", "--config", str(CONFIGURATION)]
    command += [*options, application]
    with (
        log_path.open("wb") as log,
        subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            wait_for(lambda: find_http_problem(port, "/ready") is None)
            yield Web(process, port, log_path)
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def indexed(devnet: Devnet) -> dict[str, str]:
    """The environment of a devnet whose database has its indexes."""
    env = devnet.env
    extensions.init(load_settings(env))
    extensions.ensure_indexes()
    return env


@pytest.fixture(scope="session")
def web(indexed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One server for the tests that only look at it through the proxy."""
    env = {**indexed, "TRUSTED_PROXIES": "1"}
    with serving(env, tmp_path_factory.mktemp("web") / "log") as running:
        yield running
