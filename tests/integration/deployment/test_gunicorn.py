"""deploy/gunicorn.conf.py under a real gunicorn."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import requests

from tests.integration.deployment.conftest import serving, wait_for


def test_it_serves_logs_json_forgets_old_counters_and_ends_in_order(
    indexed: dict[str, str], tmp_path: Path
) -> None:
    counters = tmp_path / "counters"
    counters.mkdir()
    (counters / "counter_1.db").write_bytes(b"of an earlier start")
    (counters / "older").mkdir()
    env = {**indexed, "PROMETHEUS_MULTIPROC_DIR": str(counters), "WEB_WORKERS": "1"}

    with serving(env, tmp_path / "log") as web:
        assert requests.get(f"http://127.0.0.1:{web.port}/health", timeout=10).ok
        left = {path.name for path in counters.iterdir()}
        code = web.end()

    assert not left & {"counter_1.db", "older"}
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
