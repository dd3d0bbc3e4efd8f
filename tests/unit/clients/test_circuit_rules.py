"""How a circuit's memory changes, with a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clients.circuit import (
    LONGEST_OPEN_SECONDS,
    TRY_SECONDS,
    CircuitRules,
    Memory,
)

RULES = CircuitRules(failures=3, open_seconds=30.0)
NOW = 1_700_000_000.0


def fail(memory: Memory, times: int, now: float = NOW) -> Memory:
    for number in range(times):
        memory = RULES.fail(memory, now, f"reason {number}")
    return memory


def test_it_stays_closed_below_the_number_of_failures() -> None:
    memory = fail(Memory(), 2)

    assert RULES.admit(memory, NOW) == (memory, True)
    assert memory.failures == 2


def test_it_opens_with_the_last_failure_and_keeps_its_reason() -> None:
    memory = fail(Memory(), 3)

    assert (memory.open_until, memory.reason) == (NOW + 30.0, "reason 2")
    assert RULES.admit(memory, NOW + 29.9) == (memory, False)


def test_half_open_lets_one_call_through() -> None:
    memory = fail(Memory(), 3)

    trying, first = RULES.admit(memory, NOW + 30.0)
    same, second = RULES.admit(trying, NOW + 31.0)

    assert (first, second, same) == (True, False, trying)


def test_a_caller_that_died_while_trying_keeps_others_away_for_a_while_only() -> None:
    trying, _ = RULES.admit(fail(Memory(), 3), NOW + 30.0)

    assert RULES.admit(trying, NOW + 30.0 + TRY_SECONDS)[1]


def test_each_failed_try_doubles_the_time_up_to_a_cap() -> None:
    memory, now, seconds = fail(Memory(), 3), NOW, []
    for _ in range(8):
        seconds.append(memory.open_until - now)
        now = memory.open_until
        memory, is_admitted = RULES.admit(memory, now)
        assert is_admitted
        memory = RULES.fail(memory, now, "again")

    assert seconds == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0, 600.0]
    assert max(seconds) == LONGEST_OPEN_SECONDS


def test_late_failures_of_calls_from_before_the_opening_prolong_nothing() -> None:
    memory = fail(Memory(), 3)

    assert fail(memory, 5, NOW + 10.0) == memory


def test_a_clock_set_back_keeps_no_circuit_open() -> None:
    memory = fail(Memory(), 3)

    assert RULES.admit(memory, NOW - 86_400)[1]


@pytest.mark.parametrize("openings", [50, 5000])
def test_many_openings_overflow_nothing(openings: int) -> None:
    memory = Memory(failures=3, openings=openings, open_until=NOW - 1)

    assert RULES.fail(memory, NOW, "again").open_until == NOW + LONGEST_OPEN_SECONDS


@given(st.lists(st.tuples(st.sampled_from(["fail", "succeed", "admit"]), st.floats(0, 700))))
def test_it_never_stays_open_beyond_the_cap(steps: list[tuple[str, float]]) -> None:
    memory, now = Memory(), NOW
    for step, seconds in steps:
        now += seconds
        if step == "fail":
            memory = RULES.fail(memory, now, "reason")
        elif step == "succeed":
            memory = Memory()
        else:
            memory, _ = RULES.admit(memory, now)

    assert RULES.admit(memory, now + LONGEST_OPEN_SECONDS + TRY_SECONDS)[1]
