"""The counter alone: exact, whoever counts at the same time, and never past the end of a window."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import redis
from flask import Flask

from app.api.windows import SCHEME, Window, WindowStorage, windows_asked
from app.clients.sharing import RedisGuard

MINUTE = 60_000
KEY = "test/a"
NAME = f"rl:{KEY}"


def guard() -> RedisGuard:
    return RedisGuard("limits", meanwhile="are not kept")


class Windows:
    """The storage, asked as flask-limiter's strategy does, by requests that have nothing else."""

    def __init__(self, connection: redis.Redis) -> None:
        self._app = Flask(__name__)
        self.storage = WindowStorage(
            f"{SCHEME}://",
            guard=guard(),
            connection_pool=connection.connection_pool,
            key_prefix="rl",
        )

    @contextmanager
    def request(self) -> Iterator[None]:
        with self._app.app_context():
            yield

    def take(self, key: str = KEY, *, maximum: int = 3, seconds: int = 60, cost: int = 1) -> Window:
        """Takes a place for a request of its own; `is_held` says whether there was one."""
        with self.request():
            return self.take_here(key, maximum=maximum, seconds=seconds, cost=cost)

    def take_here(
        self, key: str = KEY, *, maximum: int = 3, seconds: int = 60, cost: int = 1
    ) -> Window:
        """The same for the current request."""
        is_taken = self.storage.acquire_entry(key, maximum, seconds, cost)
        assert is_taken == windows_asked()[key].is_held
        return windows_asked()[key]

    def look(self, key: str = KEY, *, maximum: int = 3) -> int:
        with self.request():
            return self.storage.get_moving_window(key, maximum, 60)[1]


@pytest.fixture
def windows(connection: redis.Redis) -> Windows:
    return Windows(connection)


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_window_has_as_many_places_as_it_says(windows: Windows) -> None:
    taken = [windows.take() for _ in range(5)]

    assert [each.is_held for each in taken] == [True, True, True, False, False]
    assert [each.count for each in taken] == [1, 2, 3, 3, 3]
    assert [each.remaining for each in taken] == [2, 1, 0, 0, 0]


def test_a_window_begins_with_its_first_place_and_lasts(
    windows: Windows, connection: redis.Redis
) -> None:
    first = windows.take()
    second = windows.take()

    assert 0 < second.left_ms <= first.left_ms == MINUTE
    assert connection.pttl(NAME) <= MINUTE


def test_a_window_ends_by_itself(windows: Windows, connection: redis.Redis) -> None:
    windows.take(maximum=1, seconds=1)
    wait_until(lambda: not connection.exists(NAME))

    again = windows.take(maximum=1, seconds=1)

    assert again.is_held
    assert again.count == 1


def test_looking_counts_nothing(windows: Windows, connection: redis.Redis) -> None:
    assert [windows.look() for _ in range(5)] == [0] * 5
    assert not connection.exists(NAME)
    for _ in range(3):
        windows.take()

    assert windows.look() == 3


def test_a_look_tells_when_the_window_began(windows: Windows, connection: redis.Redis) -> None:
    taken = windows.take()
    with windows.request():
        began_at, _ = windows.storage.get_moving_window(KEY, 3, 60)

    assert abs(began_at - (taken.ends_at_ms - MINUTE) / 1000) < 1


def test_parallel_callers_never_have_more_places_than_there_are(windows: Windows) -> None:
    with ThreadPoolExecutor(16) as threads:
        taken = list(threads.map(lambda _: windows.take(maximum=25), range(200)))

    assert sum(each.is_held for each in taken) == 25


def test_a_place_that_is_given_back_is_free_and_its_window_goes_on(
    windows: Windows, connection: redis.Redis
) -> None:
    with windows.request():
        windows.take_here(maximum=1)
        connection.pexpire(NAME, 30_000)
        at_30_seconds = windows.take(maximum=1).ends_at_ms
        windows_asked()[KEY] = replace(windows_asked()[KEY], ends_at_ms=at_30_seconds)
        windows.storage.give_back([KEY])

        assert windows_asked()[KEY].remaining == 1

    assert connection.get(NAME) == "0"
    assert windows.take(maximum=1).is_held
    assert connection.pttl(NAME) <= 30_000


def test_f24_a_place_of_an_earlier_window_is_not_given_back_to_this_one(
    windows: Windows, connection: redis.Redis
) -> None:
    with windows.request():
        earlier = windows.take_here()
        # As if that window had ended and another had begun.
        ended = connection.time()[0] * 1000 - 1
        connection.delete(NAME)
        windows.take()
        windows_asked()[KEY] = replace(earlier, ends_at_ms=ended)

        windows.storage.give_back([KEY])

    assert connection.get(NAME) == "1"


def test_giving_back_twice_leaves_no_debt(windows: Windows, connection: redis.Redis) -> None:
    with windows.request():
        windows.take_here()

        for _ in range(3):
            windows.storage.give_back([KEY])

    assert connection.get(NAME) == "0"


def test_giving_back_to_a_window_that_has_ended_makes_none(
    windows: Windows, connection: redis.Redis
) -> None:
    with windows.request():
        windows.take_here()
        connection.delete(NAME)

        windows.storage.give_back([KEY])

    assert not connection.exists(NAME)


def test_who_was_refused_or_only_looked_has_nothing_to_give_back(
    windows: Windows, connection: redis.Redis
) -> None:
    windows.take(maximum=1)
    with windows.request():
        windows.take_here(maximum=1)
        windows.storage.get_moving_window(KEY, 1, 60)

        windows.storage.give_back([KEY, "test/never-asked"])

    assert connection.get(NAME) == "1"


@pytest.mark.parametrize("life", [None, 10 * MINUTE], ids=["for ever", "longer than the window"])
def test_no_window_outlives_its_setting(
    windows: Windows, connection: redis.Redis, life: int | None
) -> None:
    connection.set(NAME, 99, px=life)

    refused = windows.take()

    assert not refused.is_held
    assert 0 < connection.pttl(NAME) <= MINUTE


def test_a_place_is_one_round_trip(windows: Windows, round_trips: list[str]) -> None:
    windows.take()
    round_trips.clear()

    windows.take()
    windows.look()

    assert len(round_trips) == 2


def test_any_number_of_places_is_given_back_in_one_round_trip(
    windows: Windows, connection: redis.Redis, round_trips: list[str]
) -> None:
    keys = [f"test/{number}" for number in range(5)]
    for _ in range(2):
        with windows.request():
            for key in keys:
                windows.take_here(key)
            round_trips.clear()
            windows.storage.give_back(keys)

    # The script is known by now.
    assert len(round_trips) == 1
    assert [connection.get(f"rl:{key}") for key in keys] == ["0"] * 5
