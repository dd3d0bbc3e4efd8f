from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.lots import LOTS, Sample, Stretch, new_lot


@given(share=st.floats(min_value=1e-12, max_value=2.0))
def test_a_stretch_is_as_wide_as_its_share_and_among_the_lots(share: float) -> None:
    stretch = Stretch.somewhere(share)

    assert 0 <= stretch.first < stretch.end <= LOTS
    assert stretch.end - stretch.first == max(1, round(min(share, 1.0) * LOTS))


def test_stretches_lie_anywhere() -> None:
    starts = {Stretch.somewhere(0.01).first * 10 // LOTS for _ in range(2_000)}

    assert starts == set(range(10))


def test_a_lot_is_one_of_many() -> None:
    lots = [new_lot() for _ in range(1_000)]

    assert all(0 <= lot < LOTS for lot in lots)
    assert len({lot * 10 // LOTS for lot in lots}) == 10


def test_a_sample_tells_how_many_there_are_and_how_many_are_large() -> None:
    sample = Sample(0.01, [500] * 30 + [5_000] * 10)

    assert sample.estimate() == 4_000
    assert sample.estimate(at_least=5_000) == 1_000


def test_the_next_stretch_should_hold_what_is_wanted() -> None:
    sample = Sample(0.01, [500] * 40)

    assert sample.share_for(20) == pytest.approx(0.005)
    assert sample.share_for(4_001) > 1


def test_after_too_few_the_next_stretch_is_wider_at_any_rate() -> None:
    assert Sample(0.01, []).wider_share_for(34) == pytest.approx(0.16)
    # What was found may by chance have been more than there is on average.
    assert Sample(0.01, [500] * 16).wider_share_for(32) == pytest.approx(0.04)
    assert Sample(0.01, [500]).wider_share_for(34) == pytest.approx(0.34)


def test_nothing_found_among_all_lots_is_known_to_be_nothing() -> None:
    assert Sample(1.0, []).estimate() == 0
    assert Sample(1.0, []).share_for(1) > 1
