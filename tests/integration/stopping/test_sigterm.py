"""SIGTERM in the middle: what is under way is finished, what has not begun goes back."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from app import extensions
from app.domain.states import RecordStatus
from app.models.transaction import ChainTransaction
from app.queue import Queue, Task, enqueue
from tests.integration.deployment.conftest import Web, serving
from tests.integration.services.invariants import check_confirmed_once
from tests.integration.services.lab import Lab, Owner
from tests.integration.stopping.conftest import SLOW
from tests.integration.tasks.workers import Worker, wait_for

# Long enough for a signal to come in the middle on a busy machine.
SLOW_SECONDS = 4


def delay_broadcasts(lab: Lab) -> None:
    fault = {"kind": "delay", "seconds": SLOW_SECONDS, "path": "/tx/raw", "times": 1}
    lab.set_faults(fault)


def is_on_its_way() -> bool:
    """Whether a transaction is stored and its bytes are being sent."""
    return bool(ChainTransaction.objects(status="committed").count())


def register(web: Web, lab: Lab) -> requests.Response:
    return requests.post(
        f"http://127.0.0.1:{web.port}/v1/patches",
        json={
            "product": {"uid_tag_id": "NFC-slow", "name": "Rain jacket"},
            "metadata": {"notes": "blue, size M"},
            "auth": {"owner": Owner().address},
        },
        headers={"x-api-key": lab.env["API_KEY"]},
        timeout=60,
    )


def test_a_registration_under_way_is_answered_before_the_web_ends(lab: Lab, tmp_path: Path) -> None:
    lab.fill_pool(2)
    delay_broadcasts(lab)
    env = {**lab.env, **SLOW, "JOBS_ASYNC": "0", "WEB_WORKERS": "1"}
    with serving(env, tmp_path / "log") as web, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(register, web, lab)
        wait_for(is_on_its_way)

        web.process.send_signal(signal.SIGTERM)

        assert answer.result(60).status_code == 201
        assert web.process.wait(60) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{web.port}/health", timeout=10)


def test_m1_a_worker_finishes_its_task_and_gives_back_what_it_has_not_begun(
    lab: Lab, start_worker: Callable[[], Worker]
) -> None:
    lab.fill_pool(4)
    before = lab.accepted_count()
    delay_broadcasts(lab)
    records = lab.register_many(3)
    first = start_worker()
    family = psutil.Process(first.process.pid).children(recursive=True)
    wait_for(is_on_its_way)
    waiting = sorted(str(enqueue(Task.REAP_LOCKS)) for _ in range(5))

    first.process.send_signal(signal.SIGTERM)

    assert first.process.wait(60) == 0
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert all(lab.reload(record).status == RecordStatus.CONFIRMED for record in records)
    assert lab.accepted_count() == before + len(records)
    assert list_messages(Queue.MAINTENANCE) == waiting
    assert list_messages(Queue.ANCHORING) == []
    assert extensions.get().redis.hlen("unacked") == 0
    assert extensions.get().redis.keys("lock:*") == []
    check_confirmed_once(lab, records)

    second = start_worker()
    wait_for(lambda: len(second.lines("task")) >= len(waiting))

    assert sorted(line["task_id"] for line in second.lines("task")) == waiting
    assert {line["task"] for line in first.lines("task")} == {Task.ANCHOR_RECORDS.value}


def list_messages(queue: Queue) -> list[str]:
    """The ids of the tasks that wait."""
    rows = extensions.get().redis.lrange(queue.value, 0, -1)
    return sorted(json.loads(row)["headers"]["id"] for row in rows)
