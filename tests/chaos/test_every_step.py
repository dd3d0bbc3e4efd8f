"""A process is killed right before and right after each durable write and each outside call.

The points are found by watching a job, so a step that is added to the path is killed at too.
"""

from __future__ import annotations

import pytest

from tests.chaos.stages import STAGES
from tests.chaos.steps import Outcome, Theatre
from tests.integration.services.invariants import check_scripts


@pytest.mark.parametrize("name", STAGES)
def test_m1_killed_at_every_step(theatre: Theatre, name: str) -> None:
    stage = STAGES[name]
    outcomes: list[Outcome] = []

    points = theatre.discover(stage)
    theatre.kill_at_each(stage, points, outcomes.append)

    assert [point for outcome in outcomes for point in outcome.points] == points
    assert not [outcome for outcome in outcomes if outcome.problem]
    check_scripts(theatre.lab)


@pytest.mark.parametrize("name", ["registration", "splitting"])
def test_m3_asleep_at_every_step_until_others_have_done_it(theatre: Theatre, name: str) -> None:
    stage = STAGES[name]
    outcomes: list[Outcome] = []

    points = theatre.discover(stage)
    theatre.stop_at_each(stage, points, outcomes.append)

    assert [point for outcome in outcomes for point in outcome.points] == points
    assert not [outcome for outcome in outcomes if outcome.problem]
