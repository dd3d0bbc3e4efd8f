"""The pace on the real Redis: places are counted, no time is measured.

The interval is far longer than a test, so that the places taken do not depend on how fast the
machine is: whatever elapses meanwhile is rounded away.
"""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from app.bitcoin.transactions import Outpoint
from app.clients.outcomes import BroadcastStatus, ServiceUnavailableError
from app.clients.pacing import SharedPacer
from app.clients.sharing import REST_SECONDS
from app.clients.transport import NotSentError
from app.clients.whatsonchain import WhatsOnChainClient
from devnet.supervisor import Devnet
from tests.integration.clients.conftest import make_redis_client
from tests.integration.clients.scripted_server import Reply, ScriptedServer, json_reply

ROOT = Path(__file__).resolve().parents[3]
INTERVAL = 1000.0
LONG = 100_000.0
KEY = "patchproof:pace:test"
A = "aa" * 32

# What a worker on another host does: takes five places and tells which.
OTHER_PROCESS = """
import json, sys, redis
from app.clients.pacing import SharedPacer
from app.clients.sharing import REST_SECONDS
waits = []
pacer = SharedPacer("test", 1 / 1000, redis.Redis.from_url(sys.argv[1]),
    longest_wait_seconds=1e5, sleep=waits.append, random_unit=lambda: 0.0)
for _ in range(5):
    before = len(waits)
    pacer.wait(1e5)
    if len(waits) == before:
        waits.append(0.0)
print(json.dumps(waits))
"""


class Places:
    """A pacer whose waits are kept instead of slept, as numbers of places from the first."""

    def __init__(self, client: redis.Redis, **changes: Any) -> None:
        self.slept: list[float] = []
        options: dict[str, Any] = {
            "longest_wait_seconds": LONG,
            "sleep": self.slept.append,
            "random_unit": lambda: 0.0,
            **changes,
        }
        self.pacer = SharedPacer("test", 1 / INTERVAL, client, **options)

    def take(self, budget_seconds: float = LONG) -> int:
        before = len(self.slept)
        self.pacer.wait(budget_seconds)
        return round(self.slept[-1] / INTERVAL) if len(self.slept) > before else 0


def next_at(client: redis.Redis) -> int:
    """Return when the next call may go, in microseconds of Redis's clock."""
    return int(client.get(KEY) or 0)


def test_places_follow_each_other(redis_client: redis.Redis) -> None:
    places = Places(redis_client)

    assert [places.take() for _ in range(5)] == [0, 1, 2, 3, 4]


def test_threads_get_a_place_each(redis_client: redis.Redis) -> None:
    def take(_: int) -> int:
        return Places(redis_client).take()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(take, range(40))) == list(range(40))


def test_processes_share_the_pace(redis_client: redis.Redis, clean_devnet: Devnet) -> None:
    command = [sys.executable, "-c", OTHER_PROCESS, clean_devnet.env["REDIS_URL"]]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    waits: list[float] = []
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        waits += json.loads(out)

    assert sorted(round(wait / INTERVAL) for wait in waits) == list(range(10))
    assert Places(redis_client).take() == 10


def test_a_place_beyond_the_budget_is_not_taken(redis_client: redis.Redis) -> None:
    places = Places(redis_client)
    assert places.take() == 0

    for _ in range(3):
        with pytest.raises(NotSentError) as caught:
            places.take(INTERVAL / 2)
    assert round(caught.value.retry_after_seconds / INTERVAL) == 1

    assert places.take() == 1


def test_nobody_waits_longer_than_the_bound(redis_client: redis.Redis) -> None:
    places = Places(redis_client, longest_wait_seconds=2.5 * INTERVAL)

    assert [places.take() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(NotSentError):
        places.take(LONG)


def test_an_urgent_call_is_counted_and_does_not_wait(redis_client: redis.Redis) -> None:
    places = Places(redis_client)
    places.take()

    places.pacer.wait(0.0, is_urgent=True)

    assert places.slept == []
    assert places.take() == 2


def test_jitter_is_a_tenth_of_an_interval_at_most(redis_client: redis.Redis) -> None:
    exact, late = Places(redis_client), Places(redis_client, random_unit=lambda: 1.0)
    exact.take()
    exact.take()

    late.take()

    assert round(10 * late.slept[0] / INTERVAL) == 21


def test_a_hold_moves_the_place_of_all_and_never_nearer(redis_client: redis.Redis) -> None:
    places, other = Places(redis_client), Places(redis_client)

    other.pacer.hold(50.0)
    held_until = next_at(redis_client)
    other.pacer.hold(1.0)
    assert next_at(redis_client) == held_until

    places.take()
    assert len(places.slept) == 1
    assert next_at(redis_client) == held_until + INTERVAL * 1_000_000


def test_a_hold_is_a_minute_at_most(redis_client: redis.Redis) -> None:
    Places(redis_client).pacer.hold(86_400.0)

    seconds, microseconds = redis_client.time()
    assert next_at(redis_client) <= (seconds + 60) * 1_000_000 + microseconds


@pytest.mark.parametrize("value", ["99999999999999999", "nonsense", "-5", "0"])
def test_a_clock_set_back_and_odd_values_stop_nobody(redis_client: redis.Redis, value: str) -> None:
    redis_client.set(KEY, value)

    assert [Places(redis_client).take() for _ in range(2)] == [0, 1]


def test_an_idle_pace_leaves_nothing_in_redis_for_ever(redis_client: redis.Redis) -> None:
    Places(redis_client).take()

    assert 0 < redis_client.ttl(KEY) <= INTERVAL + 2


def test_scripts_come_back_after_redis_forgot_them(redis_client: redis.Redis) -> None:
    places = Places(redis_client)
    places.take()

    redis_client.script_flush()

    assert places.take() == 1


def test_without_redis_each_process_keeps_the_pace_alone(
    mortal: Devnet, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    client = make_redis_client(mortal)
    places = Places(client, clock=clock)
    assert [places.take() for _ in range(3)] == [0, 1, 2]

    mortal.kill("redis")
    with caplog.at_level(logging.WARNING, "app.clients.sharing"):
        alone = [places.take() for _ in range(3)]
        clock.seconds += REST_SECONDS
        alone.append(places.take())
    mortal.start("redis")
    clock.seconds += REST_SECONDS
    client.delete(KEY)

    assert alone == [0, 1, 2, 3]
    assert [vars(record)["event"] for record in caplog.records] == ["redis_away"]
    assert [places.take() for _ in range(2)] == [0, 1]
    assert client.exists(KEY)
    client.close()


class Clock:
    """A process's clock, which the test moves."""

    def __init__(self) -> None:
        self.seconds = time.monotonic()

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("per_second", [0.0, -1.0, float("nan")])
def test_a_pace_is_positive(redis_client: redis.Redis, per_second: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        SharedPacer("test", per_second, redis_client)


class CountingPacer:
    """Lets everything go and counts; refuses when the test says so."""

    def __init__(self) -> None:
        self.waits: list[bool] = []
        self.holds: list[float] = []
        self.is_full = False

    def wait(self, budget_seconds: float, *, is_urgent: bool = False) -> None:
        self.waits.append(is_urgent)
        if self.is_full and not is_urgent:
            raise NotSentError(45.0)

    def hold(self, seconds: float) -> None:
        self.holds.append(seconds)


@pytest.fixture
def counting() -> CountingPacer:
    """Return a pacer that only counts."""
    return CountingPacer()


@pytest.fixture
def paced(
    scripted: ScriptedServer, counting: CountingPacer, sleep: Callable[[float], None]
) -> Iterator[WhatsOnChainClient]:
    """Yield a client of the scripted server that keeps the counting pace."""
    made = WhatsOnChainClient(
        scripted.url, timeout_seconds=5.0, pacer=counting, sleep=sleep, random_unit=lambda: 0.0
    )
    yield made
    made.close()


def test_every_request_waits_for_its_turn_and_a_greeting_is_urgent(
    scripted: ScriptedServer, paced: WhatsOnChainClient, counting: CountingPacer
) -> None:
    scripted.prepare(Reply(b"Whats On Chain"))
    paced.ping()
    scripted.prepare(Reply(b"", 503), Reply(b"", 503), Reply(b"null"))
    paced.find_proof(A)
    scripted.prepare(Reply(b"Missing inputs", 400))
    paced.broadcast("00", A)
    scripted.prepare(json_reply([]))
    paced.list_transaction_statuses(f"{number:064x}" for number in range(45))
    scripted.prepare(json_reply([]), Reply(b"", 404))
    paced.find_spends([Outpoint(A, 0), Outpoint(A, 1)])
    paced.get_fee_recommendation()

    assert len(counting.waits) == len(scripted.seen) == 1 + 3 + 1 + 3 + 3 + 1
    assert counting.waits == [True, *[False] * 11]


def test_too_many_holds_all_for_as_long_as_the_service_asks(
    scripted: ScriptedServer, paced: WhatsOnChainClient, counting: CountingPacer
) -> None:
    scripted.prepare(Reply(b"", 429, {"Retry-After": "7"}), Reply(b"", 429), Reply(b"null"))

    paced.broadcast("00", A)
    paced.find_proof(A)

    assert counting.holds == [7.0, 1.0]


def test_what_finds_no_place_in_time_is_not_sent(
    scripted: ScriptedServer, paced: WhatsOnChainClient, counting: CountingPacer
) -> None:
    scripted.prepare(Reply(b"Whats On Chain"))
    counting.is_full = True

    outcome = paced.broadcast("00", A)
    with pytest.raises(ServiceUnavailableError) as caught:
        paced.find_proof(A)
    paced.ping()

    assert outcome.status is BroadcastStatus.UNKNOWN
    assert (outcome.was_refused, outcome.is_outage) == (True, False)
    assert outcome.retry_after_seconds == caught.value.retry_after_seconds == 45.0
    assert [request.path for request in scripted.seen] == ["/woc"]
