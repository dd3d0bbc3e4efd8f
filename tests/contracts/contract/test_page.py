"""docs/api/contract.md, the document and the tests of this folder tell of the same things."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from tests.contracts.test_routes import operations_of

HERE = Path(__file__).parent
PAGE = (HERE.parents[2] / "docs" / "api" / "contract.md").read_text("utf-8")
HEADINGS = re.findall(r"^#{2,3} (\d+(?:\.\d+)?) (.+)$", PAGE, re.MULTILINE)
ROUTE = re.compile(
    r"^### [\d.]+ `(\w+) (/[^`]*)`$(?:(?!^###? ).)*?^\*\*Statuses\*\* ([\d ]+)$",
    re.MULTILINE | re.DOTALL,
)


@cache
def names_of_tests() -> set[str]:
    """The names of the tests, as they are written."""
    trees = [ast.parse(path.read_text("utf-8")) for path in HERE.glob("test_section_*.py")]
    return {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("number", [number for number, _ in HEADINGS])
def test_every_section_has_a_test_of_its_number(number: str) -> None:
    prefix = f"test_{number.replace('.', '_')}_"

    assert any(name.startswith(prefix) for name in names_of_tests())


def test_every_test_is_of_a_section() -> None:
    numbers = {number for number, _ in HEADINGS}
    for name in names_of_tests():
        matched = re.match(r"test_(\d+)_(?:(\d+)_)?", name)
        assert matched, name
        section = ".".join(part for part in matched.groups() if part)
        assert section in numbers, name


def test_page_and_document_have_the_same_routes_with_the_same_statuses(
    document: dict[str, Any],
) -> None:
    told = {(method, path): set(statuses.split()) for method, path, statuses in ROUTE.findall(PAGE)}
    documented = {
        route: set(operation["responses"]) for route, operation in operations_of(document).items()
    }

    assert told == documented


@pytest.mark.parametrize(
    "row", re.findall(r"\| (\d+) in (\d+) s \| `(\w+)_WINDOW_MS`, `(\w+)_MAX` \|", PAGE)
)
def test_1_5_limits_of_the_page_are_the_defaults(row: tuple[str, str, str, str]) -> None:
    maximum, seconds, window, most = row
    fields = Settings.model_fields

    assert fields[f"{most.lower()}_max"].default == int(maximum)
    assert fields[f"{window.lower()}_window_ms"].default == 1000 * int(seconds)


def test_codes_that_the_page_names_are_explained() -> None:
    explained = set(
        re.findall(
            r"^\| `(\w+)` \| \d{3} ",
            (HERE.parents[2] / "docs/api/errors.md").read_text(),
            re.MULTILINE,
        )
    )
    named = set(re.findall(r"\b[45]\d\d `(\w+)`", PAGE))

    assert named <= explained
