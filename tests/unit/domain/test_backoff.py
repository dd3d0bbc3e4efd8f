from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.backoff import backoff


@given(st.integers(0, 10_000), st.floats(0.1, 60), st.floats(0.1, 3600))
def test_it_lies_between_half_and_the_whole_of_what_it_has_grown_to(
    attempts: int, base: float, cap: float
) -> None:
    grown = min(cap, base * 2 ** min(attempts, 30))

    delay = backoff(attempts, base_seconds=base, cap_seconds=cap)

    assert timedelta(seconds=grown / 2) <= delay <= timedelta(seconds=grown)


@pytest.mark.parametrize(("attempts", "ceiling"), [(0, 2), (1, 4), (2, 8), (7, 256), (8, 300)])
def test_it_doubles_up_to_its_cap(attempts: int, ceiling: int) -> None:
    delays = [backoff(attempts, base_seconds=2, cap_seconds=300) for _ in range(200)]

    assert timedelta(seconds=ceiling / 2) <= min(delays)
    assert max(delays) <= timedelta(seconds=ceiling)


def test_many_do_not_come_back_at_once() -> None:
    delays = {backoff(3, base_seconds=2, cap_seconds=300) for _ in range(100)}

    assert len(delays) > 90
