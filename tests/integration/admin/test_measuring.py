"""Numbers of all processes come together in Redis, and outlive each of them."""

from __future__ import annotations

import json
import os
import time

import pytest
import redis

from app import extensions, measures
from app.services import measuring
from tests.integration.api.caller import Caller

ASKED = (measures.CODES.name, measures.COUNT, "asked")


def test_what_other_processes_have_counted_is_read_too(caller: Caller) -> None:
    measuring.push()
    client = extensions.get().redis
    client.delete(measuring.AMOUNTS)
    client.hincrbyfloat(measuring.AMOUNTS, json.dumps(ASKED), 3)
    measures.CODES.add("asked")

    assert measuring.read().amounts[ASKED] == 4
    assert measuring.read().amounts[ASKED] == 4


def test_o1_while_redis_is_away_numbers_are_kept(caller: Caller) -> None:
    measuring.push()
    extensions.get().redis.delete(measuring.AMOUNTS)
    caller.start(REDIS_URL="redis://127.0.0.1:1/0")
    measures.CODES.add("asked")
    with pytest.raises(redis.RedisError):
        measuring.push()
    caller.start()

    assert measuring.read().amounts[ASKED] == 1


def test_a_process_says_that_it_runs_until_it_ends(caller: Caller) -> None:
    measuring.begin("web")
    measuring.begin("web")
    try:
        deadline = time.monotonic() + 30
        while not (running := measuring.read().processes):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        measuring.end()

    [process] = running
    assert process.service == "web"
    assert process.values["patchproof_process_resident_memory_bytes"] > 1_000_000
    assert measuring.read().processes == ()
    assert measuring.read().amounts[measures.CPU_SECONDS.name, "", "web"] > 0


def test_a_process_that_has_fallen_silent_is_forgotten(caller: Caller) -> None:
    sign = json.dumps(["worker", time.time() - 3600, {}])
    client = extensions.get().redis
    client.hset(measuring.PROCESSES, f"elsewhere:{os.getpid()}", sign)

    assert measuring.read().processes == ()
    assert client.hlen(measuring.PROCESSES) == 0


def test_fields_of_another_release_are_left_alone(caller: Caller) -> None:
    client = extensions.get().redis
    for series in (["patchproof_of_tomorrow", "", "a"], [measures.TASKS.name, "", "a", "b", "c"]):
        client.hincrbyfloat(measuring.AMOUNTS, json.dumps(series), 1)

    text = caller.get("/metrics").get_data(as_text=True)

    assert "of_tomorrow" not in text
    assert "patchproof_tasks_total" in text
