"""Whether an answer is what a page shows: JSON in its shape, text with … for whatever varies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

# Members whose values are part of what a page says.
_EXACT = frozenset({"status", "code", "success", "authorized", "ready", "ok", "kind", "moved_by"})
_DECODER = json.JSONDecoder()


def find_text_problem(shown: str, told: str) -> str | None:
    """Tells how a text differs from the one shown; … stands for anything, lines too."""
    pattern = ".*".join(re.escape(part.strip(" ")) for part in _squeeze(shown).split("…"))
    if re.fullmatch(pattern, _squeeze(told), re.DOTALL):
        return None
    return f"shows\n{shown}\nand the answer is\n{told}"


def find_json_problem(shown: str, told: str) -> str | None:
    """Tells how JSON documents differ in shape from those shown, the last ones of all told."""
    expected, actual = list(_documents(shown)), list(_documents(told))
    if len(actual) < len(expected):
        return f"shows {len(expected)} JSON documents and the answer is\n{told}"
    for left, right in zip(expected, actual[len(actual) - len(expected) :], strict=True):
        problem = _difference(left, right, "$")
        if problem:
            return f"{problem}; the answer is\n{json.dumps(right, indent=1)}"
    return None


def _squeeze(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def _documents(text: str) -> Iterator[Any]:
    at = 0
    while match := re.compile(r"[{\[]").search(text, at):
        try:
            document, at = _DECODER.raw_decode(text, match.start())
        except ValueError:
            at = match.start() + 1
        else:
            yield document


def _difference(expected: Any, actual: Any, path: str) -> str | None:
    if isinstance(expected, dict) and isinstance(actual, dict):
        return _difference_of_objects(expected, actual, path)
    if isinstance(expected, list) and isinstance(actual, list):
        return _difference_of_lists(expected, actual, path)
    scalars = (str, bool, int, float, type(None))
    if not isinstance(expected, scalars) or not isinstance(actual, scalars):
        return f"{path} is of another type"
    if path.rpartition(".")[2] in _EXACT and expected != actual:
        return f"{path} is shown as {expected!r}"
    # What is null in an example has a value at another time, and the other way round.
    if expected is None or actual is None or _kind(expected) is _kind(actual):
        return None
    return f"{path} is of another type"


def _difference_of_objects(
    expected: dict[str, Any], actual: dict[str, Any], path: str
) -> str | None:
    if set(expected) != set(actual):
        return f"{path} shows {sorted(expected)} and has {sorted(actual)}"
    problems = (_difference(expected[name], actual[name], f"{path}.{name}") for name in expected)
    return next((problem for problem in problems if problem), None)


def _difference_of_lists(expected: list[Any], actual: list[Any], path: str) -> str | None:
    if not expected:
        return None
    if not actual:
        return f"{path} is empty"
    for item in actual:
        problems = [_difference(shape, item, f"{path}[]") for shape in expected]
        if all(problems):
            return problems[0]
    return None


def _kind(value: object) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)
