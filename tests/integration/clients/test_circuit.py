"""The circuit on the real Redis; the clock is the test's own."""

import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from app.clients.circuit import Circuit, CircuitState
from devnet.supervisor import Devnet
from tests.integration.clients.conftest import make_redis_client

ROOT = Path(__file__).resolve().parents[3]
KEY = "patchproof:circuit:test"
NOW = 1_700_000_000.0

OTHER_PROCESS = """
import json, sys, redis
from app.clients.circuit import Circuit
client = redis.Redis.from_url(sys.argv[1], decode_responses=True)
circuit = Circuit("test", client, failures=4, open_seconds=30.0, now=lambda: 1_700_000_000.0)
admitted = []
for _ in range(2):
    admitted.append(circuit.admit())
    circuit.fail("no answer (ReadTimeout)")
print(json.dumps(admitted))
"""


class Clock:
    """Unix seconds, which the test moves."""

    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


def make_circuit(client: redis.Redis, clock: Clock, failures: int = 3) -> Circuit:
    return Circuit("test", client, failures=failures, open_seconds=30.0, now=clock)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["event"] for record in caplog.records]


def test_one_process_opens_it_for_all(redis_client: redis.Redis, clock: Clock) -> None:
    mine, other = make_circuit(redis_client, clock), make_circuit(redis_client, clock)

    for circuit in (mine, other, mine):
        assert circuit.admit()
        circuit.fail("no answer (ConnectTimeout)")

    assert (mine.admit(), other.admit()) == (False, False)
    until = datetime.fromtimestamp(NOW + 30.0, UTC)
    expected = CircuitState("open", until, "no answer (ConnectTimeout)")
    assert mine.state() == other.state() == expected


def test_failures_of_two_processes_are_counted_together(
    redis_client: redis.Redis, clean_devnet: Devnet, clock: Clock
) -> None:
    for expected in ([True, True], [True, True], [False, False]):
        done = subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, clean_devnet.env["REDIS_URL"]],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        assert json.loads(done.stdout) == expected
    assert not make_circuit(redis_client, clock).admit()


def test_an_answer_in_between_begins_the_count_anew(
    redis_client: redis.Redis, clock: Clock
) -> None:
    circuit = make_circuit(redis_client, clock)
    for _ in range(3):
        circuit.fail("no answer")
        circuit.fail("no answer")
        circuit.succeed()

    assert circuit.admit()
    assert circuit.state() == CircuitState("closed")
    assert not redis_client.exists(KEY)


def test_no_failure_of_many_at_once_is_lost(redis_client: redis.Redis, clock: Clock) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda _: make_circuit(redis_client, clock, failures=40).fail("no answer"),
                range(40),
            )
        )

    assert not make_circuit(redis_client, clock, failures=40).admit()


def test_half_open_lets_one_of_many_try(redis_client: redis.Redis, clock: Clock) -> None:
    circuit = make_circuit(redis_client, clock, failures=1)
    circuit.fail("no answer")
    clock.seconds += 30.0
    assert circuit.state().position == "half_open"

    with ThreadPoolExecutor(8) as pool:
        admitted = list(pool.map(lambda _: make_circuit(redis_client, clock).admit(), range(40)))

    assert sum(admitted) == 1


def test_the_try_decides_and_the_log_tells(
    redis_client: redis.Redis, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    circuit = make_circuit(redis_client, clock)
    with caplog.at_level(logging.INFO, "app.clients.circuit"):
        for _ in range(3):
            circuit.fail("no answer")
        clock.seconds += 30.0
        assert circuit.admit()
        circuit.fail("answered 502")
        clock.seconds += 59.0
        assert not circuit.admit()
        clock.seconds += 1.0
        assert circuit.admit()
        circuit.succeed()

    assert circuit.admit()
    assert circuit.state() == CircuitState("closed")
    assert events(caplog) == [
        "circuit_opened",
        "circuit_half_open",
        "circuit_opened",
        "circuit_half_open",
        "circuit_closed",
    ]
    opened = [vars(record) for record in caplog.records if record.msg == "circuit opened"]
    assert [(line["failures"], line["seconds"]) for line in opened] == [(3, 30), (4, 60)]
    assert opened[1]["reason"] == "answered 502"


@pytest.mark.parametrize("text", ["nonsense", "[]", "5", '{"other": 1}', "null"])
def test_what_it_cannot_read_in_redis_is_a_new_beginning(
    redis_client: redis.Redis, clock: Clock, text: str
) -> None:
    redis_client.set(KEY, text)
    circuit = make_circuit(redis_client, clock, failures=1)

    assert circuit.admit()
    circuit.fail("no answer")
    assert not circuit.admit()


def test_what_it_keeps_in_redis_ends_by_itself(redis_client: redis.Redis, clock: Clock) -> None:
    make_circuit(redis_client, clock).fail("no answer")

    assert 0 < redis_client.ttl(KEY) <= 1200


def test_without_redis_each_process_has_its_own(
    mortal: Devnet, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_redis_client(mortal)
    circuit, other = make_circuit(client, clock), make_circuit(client, clock)
    circuit.fail("no answer")

    mortal.kill("redis")
    with caplog.at_level(logging.WARNING, "app.clients.sharing"):
        for _ in range(3):
            assert circuit.admit()
            circuit.fail("no answer")
        assert not circuit.admit()
        assert circuit.state().position == "open"
        assert other.admit()
    assert events(caplog) == ["redis_away", "circuit_opened", "redis_away"]

    mortal.start("redis")
    again = make_circuit(client, clock)
    assert again.admit()
    assert again.state() == CircuitState("closed")
    client.close()
