"""Going on without Redis, and saying so once a minute; the clock is the test's own."""

import logging

import pytest
import redis

from app.clients.pacing import LocalPace
from app.clients.sharing import REST_SECONDS, WARNING_SECONDS, RedisGuard


class World:
    """A clock, and a Redis that is there or not."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.is_away = True
        self.asked = 0
        self.guard = RedisGuard("the test", clock=lambda: self.now)

    def shared(self) -> str:
        self.asked += 1
        if self.is_away:
            raise redis.ConnectionError("secret.host:6379 refused")
        return "shared"

    def ask(self) -> str:
        return self.guard.ask(self.shared, lambda: "alone")


def test_the_process_goes_on_alone_and_asks_redis_again_after_a_rest() -> None:
    world = World()

    assert [world.ask() for _ in range(3)] == ["alone"] * 3
    assert world.asked == 1

    world.is_away = False
    world.now += REST_SECONDS
    assert world.ask() == "shared"
    assert world.ask() == "shared"


def test_there_is_one_warning_a_minute_and_it_names_no_host(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()

    with caplog.at_level(logging.WARNING):
        for _ in range(round(WARNING_SECONDS / REST_SECONDS)):
            world.ask()
            world.now += REST_SECONDS
        assert [record.event for record in caplog.records] == ["redis_away"]
        world.ask()

    assert len(caplog.records) == 2
    assert "secret.host" not in caplog.text


def test_an_error_that_is_not_of_redis_is_not_hidden() -> None:
    def broken() -> str:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        World().guard.ask(broken, lambda: "alone")


def test_one_caller_asks_again_and_the_others_do_not_wait_for_it() -> None:
    world = World()
    world.ask()
    world.now += REST_SECONDS
    others: list[str] = []

    def slow() -> str:
        others.append(world.ask())
        world.now += 10 * REST_SECONDS
        others.append(world.ask())
        return "shared"

    assert world.guard.ask(slow, lambda: "alone") == "shared"
    assert others == ["alone", "alone"]
    assert world.asked == 1


def test_a_defect_while_asking_again_does_not_end_the_asking() -> None:
    def broken() -> str:
        raise ValueError("a defect")

    world = World()
    world.ask()
    world.is_away = False
    world.now += REST_SECONDS

    with pytest.raises(ValueError, match="a defect"):
        world.guard.ask(broken, lambda: "alone")
    assert world.ask() == "shared"


def test_rest_and_words_are_the_users_own(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.guard = RedisGuard(
        "limits", meanwhile="let reads pass", rest_seconds=1.0, clock=lambda: world.now
    )

    world.ask()
    world.now += 1.0
    world.ask()

    assert world.asked == 2
    assert caplog.messages == ["limits let reads pass, Redis is away"]


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_places_of_one_process_are_an_interval_apart() -> None:
    clock = Clock()
    pace = LocalPace(0.5, clock=clock)

    assert [pace.take(10.0, False) for _ in range(4)] == [0.0, 0.5, 1.0, 1.5]
    clock.now += 2.0
    # Nothing is saved up while nobody calls.
    assert [pace.take(10.0, False) for _ in range(2)] == [0.0, 0.5]


def test_a_place_beyond_the_budget_is_not_taken() -> None:
    pace = LocalPace(1.0, clock=Clock())

    assert [pace.take(1.0, False) for _ in range(4)] == [0.0, 1.0, -2.0, -2.0]


def test_an_urgent_call_takes_a_place_and_the_others_move_on() -> None:
    pace = LocalPace(1.0, clock=Clock())

    assert pace.take(0.0, False) == 0.0
    assert pace.take(0.0, True) == 1.0
    assert pace.take(5.0, False) == 2.0


def test_a_hold_moves_the_next_place_and_never_nearer() -> None:
    pace = LocalPace(1.0, clock=Clock())

    pace.hold(3.0)
    pace.hold(1.0)

    assert [pace.take(10.0, False) for _ in range(2)] == [3.0, 4.0]
