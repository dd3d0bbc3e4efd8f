"""Upkeep of the pool over HTTP: every call answers, one runs at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import invariants
from tests.integration.api.caller import Caller

PATHS = ("/v1/admin/utxo-maintain", "/v1/admin/utxo-maintenance")
OUTAGE = {"kind": "status", "status": 503}
# Holds the lock as a command on another host does, until its input ends.
_HOLDER = """
import sys
from app import extensions
from app.config import load_settings
from app.services.maintenance import exclusive
extensions.init(load_settings())
with exclusive():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_at_work(caller: Caller) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER],
        env={**caller.lab.env, "PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            holder.communicate(timeout=30)


def maintain(caller: Caller, action: str | None = None, path: str = PATHS[0]) -> dict[str, Any]:
    body = {} if action is None else {"action": action}
    response = caller.post(path, body)
    assert response.status_code == 200, response.get_data(as_text=True)
    answered: dict[str, Any] = response.json
    assert answered["success"] is True
    assert answered["action"] == (action or "auto")
    return dict(answered["result"])


@pytest.mark.parametrize("path", PATHS)
def test_f6_both_names_answer(caller: Caller, path: str) -> None:
    caller.lab.fund(2)
    caller.lab.mine()

    assert maintain(caller, "sync", path) == {"sync": {"added": 2, "spent": 0, "confirmed": 0}}


def test_f6_a_request_without_a_body_does_all_three(caller: Caller) -> None:
    headers = {"x-api-key": caller.lab.env["API_KEY"]}

    response = caller.app.test_client().post(PATHS[0], headers=headers)

    assert response.status_code == 200
    answered: Any = response.json
    assert answered["action"] == "auto"


def test_f6_auto_does_all_three_in_order(caller: Caller) -> None:
    caller.lab.fund(1, 200_000)
    caller.lab.mine()

    result = maintain(caller)

    assert list(result) == ["sync", "sweep", "split"]
    assert result["sync"]["added"] == 1
    assert result["sweep"] == {"skipped": True, "reason": "dust_below_limit", "count": 0}
    assert result["split"]["success"] is True
    assert result["split"]["txid"] == result["split"]["txids"][0]
    assert result["split"]["outputs"] >= 10
    assert Utxo.objects(status="available").count() == result["split"]["outputs"]
    assert invariants.check(pause_seconds=0).is_clean


def test_a_healthy_pool_is_not_split(caller: Caller) -> None:
    caller.start(UTXO_MIN_POOL="2")
    caller.lab.fill_pool(3, satoshis=5000)

    assert maintain(caller, "split") == {
        "split": {"skipped": True, "reason": "pool_healthy", "poolCount": 3}
    }


def test_a_pool_without_funds_says_what_it_needs(caller: Caller) -> None:
    caller.lab.fill_pool(1, satoshis=5000)

    split = maintain(caller, "split")["split"]

    assert (split["success"], split["error"]) == (False, "no_large_utxo_available")
    assert split["required"] > 5000


def test_dust_is_swept(caller: Caller) -> None:
    caller.start(DUST_SWEEP_LIMIT="3")
    caller.lab.fill_pool(4, satoshis=1500)

    sweep = maintain(caller, "sweep")["sweep"]

    assert (sweep["success"], sweep["inputs"]) == (True, 4)
    assert ChainTransaction.objects.get().txid == sweep["txid"]


def test_m5_a_split_without_a_verdict_is_no_success_and_loses_nothing(caller: Caller) -> None:
    caller.lab.fill_pool(1, satoshis=200_000)
    caller.lab.set_faults({"kind": "cut_before", "path": "/tx/raw"})

    split = maintain(caller, "split")["split"]

    assert (split["success"], split["error"]) == (False, "not_accepted")
    caller.lab.clear_faults()
    assert invariants.check(pause_seconds=0).is_clean


@pytest.mark.parametrize("action", ["auto", "sync", "sweep", "split"])
def test_m13_one_at_a_time_across_processes(caller: Caller, action: str) -> None:
    caller.lab.fund(1, 200_000)
    caller.lab.mine()

    with another_process_at_work(caller):
        response = caller.post(PATHS[0], {"action": action})
    assert response.status_code == 409
    assert response.json["success"] is False
    assert response.json["code"] == "maintenance_running"
    assert Utxo.objects.count() == 0

    assert caller.post(PATHS[0], {"action": action}).status_code == 200


def test_f6_an_outage_is_an_answer(caller: Caller) -> None:
    caller.lab.set_faults(OUTAGE)

    response = caller.post(PATHS[0], {"action": "sync"})

    assert response.status_code == 503
    assert response.json["success"] is False
    assert response.json["code"] == "service_unavailable"
    assert int(response.headers["Retry-After"]) > 0
    caller.lab.clear_faults()
    assert caller.post(PATHS[0], {"action": "sync"}).status_code == 200


def test_f6_without_redis_the_lock_is_refused(caller: Caller) -> None:
    caller.start(REDIS_URL="redis://127.0.0.1:1/0", REDIS_PASSWORD="x")

    response = caller.post(PATHS[0], {"action": "sync"})

    assert response.status_code == 503
    assert response.json["success"] is False
