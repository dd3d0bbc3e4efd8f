"""The evaluator that tests of alerts use computes what a Prometheus has computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.promql import Alert, Recording, evaluate, parse_seconds, selectors

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "promql.json").read_text())


@pytest.fixture(scope="module")
def recording() -> Recording:
    """The series of the vectors; a gap is the end of a series."""
    made = Recording()
    for step in range(len(VECTORS["series"][0]["values"])):
        lines = [
            f"{series['name']}{spell(series['labels'])} {series['values'][step]}"
            for series in VECTORS["series"]
            if series["values"][step] is not None
        ]
        made.add(step * float(VECTORS["interval_seconds"]), "\n".join(lines) + "\n")
    return made


def spell(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


@pytest.mark.parametrize(
    "vector", VECTORS["expected"], ids=lambda each: f"{each['expression']} at {each['at']}"
)
def test_values_are_those_of_prometheus(recording: Recording, vector: dict[str, Any]) -> None:
    found = evaluate(vector["expression"], recording, vector["at"])
    expected = {frozenset(labels.items()): value for labels, value in vector["samples"]}
    assert found == pytest.approx(expected)


def test_an_alert_fires_once_it_has_held_as_long_as_it_says() -> None:
    recording, alert = Recording(), Alert("Hot", "max(heat) > 3", for_seconds=60)
    for at, heat, expected in ((0, 4, []), (30, 4, []), (60, 4, [{}]), (90, 1, []), (120, 4, [])):
        recording.add(float(at), f"heat {heat}\n")
        assert alert.look(recording, float(at)) == expected, at


def test_a_target_that_does_not_answer_is_down() -> None:
    recording = Recording(job="patchproof")
    recording.add(0.0, "heat 1\n")
    recording.add(30.0, None)
    down = {"__name__": "up", "job": "patchproof"}
    assert evaluate('up{job="patchproof"} == 0', recording, 30.0) == {frozenset(down.items()): 0.0}
    assert evaluate("absent(heat)", recording, 30.0) == {frozenset(): 1.0}


def test_names_and_labels_of_an_expression_are_found() -> None:
    expression = 'sum by (a) (rate(x_total{b="1"}[5m])) / on (a) max by (c) (y)'
    assert selectors(expression) == [("x_total", {"a", "b"}), ("y", {"c"})]


def test_durations_are_read() -> None:
    assert [parse_seconds(text) for text in ("0s", "90s", "5m", "1h30m")] == [0, 90, 300, 5400]
