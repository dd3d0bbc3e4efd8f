"""A process is killed right before and right after each durable write and each outside call.

The points are found by watching a job, so a step that is added to the path is killed at too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.chaos.stages import STAGES, Stage
from tests.chaos.steps import Outcome, Theatre
from tests.integration.services.invariants import check_scripts

# What is on disk after a step is what is there before the next: `make chaos` kills at both sides
# of every step of every job, and so does every change for the two that anchor records.
BOTH_SIDES = ("acceptance", "registration", "transfer")


@pytest.mark.parametrize("name", STAGES)
def test_m1_killed_at_every_step(theatre: Theatre, name: str) -> None:
    points = theatre.discover(STAGES[name])
    if name not in BOTH_SIDES:
        points = [point for point in points if point.startswith("after ")]

    _check_each(theatre.kill_at_each, STAGES[name], points)

    check_scripts(theatre.lab)


def test_m3_asleep_at_every_step_until_others_have_done_it(theatre: Theatre) -> None:
    points = theatre.discover(STAGES["registration"])
    # Whoever watches a layer that nobody goes through any more sees no call, and says nothing.
    assert "after delivery.send whatsonchain POST /tx/raw #1" in points

    _check_each(theatre.stop_at_each, STAGES["registration"], points)


def _check_each(
    end_at_each: Callable[[Stage, Sequence[str], Callable[[Outcome], None]], None],
    stage: Stage,
    points: Sequence[str],
) -> None:
    outcomes: list[Outcome] = []
    end_at_each(stage, points, outcomes.append)
    assert [point for outcome in outcomes for point in outcome.points] == points
    assert not [outcome for outcome in outcomes if outcome.problem]
