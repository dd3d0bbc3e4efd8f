"""deploy/gunicorn.conf.py under a real gunicorn."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import requests

from devnet.supervisor.site import CHECKOUT
from tests.integration.deployment.conftest import CONFIGURATION, serving, wait_for


def test_it_serves_logs_json_forgets_old_counters_and_ends_in_order(
    indexed: dict[str, str], tmp_path: Path
) -> None:
    counters = tmp_path / "counters"
    counters.mkdir()
    (counters / "counter_7.db").write_bytes(b"of an earlier start")
    (counters / "older").mkdir()
    env = {**indexed, "PROMETHEUS_MULTIPROC_DIR": str(counters), "WEB_WORKERS": "1"}

    with serving(env, tmp_path / "log") as web:
        assert requests.get(f"http://127.0.0.1:{web.port}/health", timeout=10).ok
        left = {path.name for path in counters.iterdir()}
        code = web.end()

    assert not left & {"counter_7.db", "older"}
    assert code == 0
    lines = [json.loads(line) for line in web.log_path.read_text().splitlines()]
    assert all(line["service"] == "patchproof-api" for line in lines)
    assert any("Listening at" in line["message"] for line in lines)


def test_a_worker_that_dies_is_replaced(indexed: dict[str, str], tmp_path: Path) -> None:
    with serving({**indexed, "WEB_WORKERS": "1"}, tmp_path / "log") as web:
        master = psutil.Process(web.process.pid)
        [first] = master.children()
        first.kill()

        wait_for(lambda: any(child.pid != first.pid for child in master.children()))

        assert requests.get(f"http://127.0.0.1:{web.port}/health", timeout=30).ok


def test_a_socket_that_is_handed_over_outlives_the_server(
    indexed: dict[str, str], tmp_path: Path
) -> None:
    """As patchproof-web.socket does: who calls between two servers waits, and is answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        port = listener.getsockname()[1]
        with handed_over(listener, indexed, tmp_path / "first") as first:
            assert requests.get(f"http://127.0.0.1:{port}/health", timeout=60).ok
            first.terminate()
            assert first.wait(60) == 0
        waiting = pool.submit(requests.get, f"http://127.0.0.1:{port}/health", timeout=60)
        with handed_over(listener, indexed, tmp_path / "second"):
            assert waiting.result(60).ok


@contextmanager
def handed_over(
    listener: socket.socket, env: Mapping[str, str], log_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """gunicorn as systemd starts it: with the socket as its descriptor 3."""
    command = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" -m gunicorn --config "$1" wsgi:app 3<&"$2"'
    words = [sys.executable, str(CONFIGURATION), str(listener.fileno())]
    with (
        log_path.open("wb") as log,
        subprocess.Popen(
            ["/bin/bash", "-c", command, *words],
            cwd=CHECKOUT,
            env={**os.environ, **env, "WEB_WORKERS": "1"},
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
