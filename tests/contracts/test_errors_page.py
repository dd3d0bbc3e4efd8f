"""docs/api/errors.md has every code that the service answers, with its status, and no other."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import app
from app.api.errors import STATUS_OF_ERROR
from app.errors import CodeRefusedError, PatchProofError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api" / "errors.md").read_text("utf-8")
ROW = re.compile(r"\| `(\w+)` \| (\d{3}) \| ([^|]+) \| ([^|]+) \|")
# Only its children are raised.
ABSTRACT = {CodeRefusedError}


def errors_of(kind: type[PatchProofError]) -> Iterator[type[PatchProofError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from errors_of(child)


def every_error() -> set[type[PatchProofError]]:
    """The errors of the whole application, wherever they are declared."""
    for module in pkgutil.walk_packages(app.__path__, "app."):
        importlib.import_module(module.name)
    # Tests that ran before may have made some of their own.
    return {each for each in errors_of(PatchProofError) if each.__module__.startswith("app.")}


def status_of(kind: type[PatchProofError]) -> int:
    return next(STATUS_OF_ERROR[each] for each in kind.__mro__ if each in STATUS_OF_ERROR)


def test_the_page_has_every_code_with_its_status_and_no_other() -> None:
    told = [(code, int(status)) for code, status, _, _ in ROW.findall(PAGE)]

    assert sorted(told) == sorted({(e.code, status_of(e)) for e in every_error() - ABSTRACT})


def test_each_code_says_what_happened_and_what_to_do() -> None:
    for code, _status, what, remedy in ROW.findall(PAGE):
        assert len(what.split()) >= 2, code
        assert remedy.strip(), code


def test_no_code_has_two_statuses() -> None:
    statuses: dict[str, set[int]] = {}
    for error in every_error():
        statuses.setdefault(error.code, set()).add(status_of(error))

    assert all(len(each) == 1 for each in statuses.values()), statuses
