"""The counter alone: exact, whoever counts at the same time, and never past the end of a window."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from app.clients.windows import FixedWindows, Place

MINUTE = 60_000


@pytest.fixture
def windows(connection: redis.Redis) -> FixedWindows:
    return FixedWindows(connection, "limits", "are not kept")


def place(key: str = "rl:test:a", maximum: int = 3, **options: int) -> Place:
    return Place(key, maximum, options.get("window_ms", MINUTE), options.get("cost", 1))


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_window_has_as_many_places_as_it_says(windows: FixedWindows) -> None:
    taken = [windows.take([place()]) for _ in range(5)]

    assert [each.is_full for each in taken if each] == [False, False, False, True, True]
    assert [each.standings[0].count for each in taken if each] == [1, 2, 3, 3, 3]


def test_a_window_begins_with_its_first_place_and_lasts(
    windows: FixedWindows, connection: redis.Redis
) -> None:
    first = windows.take([place()])
    second = windows.take([place()])

    assert first is not None
    assert second is not None
    assert 0 < second.standings[0].left_ms <= first.standings[0].left_ms == MINUTE
    assert connection.pttl("rl:test:a") <= MINUTE


def test_a_window_ends_by_itself(windows: FixedWindows, connection: redis.Redis) -> None:
    full = place(maximum=1, window_ms=200)
    windows.take([full])
    wait_until(lambda: not connection.exists(full.key))

    again = windows.take([full])

    assert again is not None
    assert not again.is_full
    assert again.standings[0].count == 1


def test_a_place_too_many_takes_none_of_the_others(
    windows: FixedWindows, connection: redis.Redis
) -> None:
    windows.take([place("rl:test:full", maximum=1)])

    refused = windows.take([place("rl:test:other"), place("rl:test:full", maximum=1)])

    assert refused is not None
    assert refused.is_full
    assert [standing.count for standing in refused.standings] == [0, 1]
    assert not connection.exists("rl:test:other")


def test_looking_counts_nothing(windows: FixedWindows) -> None:
    looks = [windows.take([place(cost=0)]) for _ in range(5)]
    assert all(each and not each.is_full for each in looks)
    for _ in range(3):
        windows.take([place()])

    look = windows.take([place(cost=0)])

    assert look is not None
    assert look.is_full


def test_parallel_callers_never_have_more_places_than_there_are(windows: FixedWindows) -> None:
    with ThreadPoolExecutor(16) as threads:
        taken = list(threads.map(lambda _: windows.take([place(maximum=25)]), range(200)))

    assert sum(not each.is_full for each in taken if each) == 25


def test_a_place_that_is_given_back_is_free_and_its_window_goes_on(
    windows: FixedWindows, connection: redis.Redis
) -> None:
    taken = windows.take([place(maximum=1)])
    assert taken is not None
    connection.pexpire("rl:test:a", 30_000)
    at_30_seconds = windows.take([place(cost=0, maximum=1)])
    assert at_30_seconds is not None

    windows.give_back([(place(), at_30_seconds.standings[0])])

    assert connection.get("rl:test:a") == "0"
    again = windows.take([place(maximum=1)])
    assert again is not None
    assert not again.is_full
    assert connection.pttl("rl:test:a") <= 30_000


def test_f24_a_place_of_an_earlier_window_is_not_given_back_to_this_one(
    windows: FixedWindows, connection: redis.Redis
) -> None:
    earlier = windows.take([place()])
    assert earlier is not None
    # As if that window had ended and another had begun.
    ended = connection.time()[0] * 1000 - 1
    connection.delete("rl:test:a")
    windows.take([place()])
    standing = type(earlier.standings[0])(count=1, left_ms=0, ends_at_ms=ended)

    windows.give_back([(place(), standing)])

    assert connection.get("rl:test:a") == "1"


def test_giving_back_twice_leaves_no_debt(windows: FixedWindows, connection: redis.Redis) -> None:
    taken = windows.take([place()])
    assert taken is not None

    for _ in range(3):
        windows.give_back([(place(), taken.standings[0])])

    assert connection.get("rl:test:a") == "0"


def test_giving_back_to_a_window_that_has_ended_makes_none(
    windows: FixedWindows, connection: redis.Redis
) -> None:
    taken = windows.take([place()])
    assert taken is not None
    connection.delete("rl:test:a")

    windows.give_back([(place(), taken.standings[0])])

    assert not connection.exists("rl:test:a")


@pytest.mark.parametrize("life", [None, 10 * MINUTE], ids=["for ever", "longer than the window"])
def test_no_window_outlives_its_setting(
    windows: FixedWindows, connection: redis.Redis, life: int | None
) -> None:
    connection.set("rl:test:a", 99, px=life)

    refused = windows.take([place()])

    assert refused is not None
    assert refused.is_full
    assert 0 < connection.pttl("rl:test:a") <= MINUTE


def test_any_number_of_places_is_one_round_trip(
    windows: FixedWindows, round_trips: list[str]
) -> None:
    windows.take([place()])
    round_trips.clear()

    windows.take([place(f"rl:test:{number}") for number in range(5)])

    assert len(round_trips) == 1


def test_a_mark_is_kept_and_renewed_now_and_then(
    windows: FixedWindows, connection: redis.Redis
) -> None:
    assert not windows.remembers("rl:test:mark")

    windows.remember("rl:test:mark", 1000)
    assert windows.remembers("rl:test:mark")

    connection.delete("rl:test:mark")
    windows.remember("rl:test:mark", 1000)
    assert not windows.remembers("rl:test:mark")
