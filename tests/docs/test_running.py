"""The test of the documents finds what is wrong on a page, and names its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs import pages
from tests.docs.pages import Page
from tests.docs.running import make_checkout, run_page

FENCE = "```"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return make_checkout(tmp_path / "checkout")


def run(checkout: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    """Runs a page of these lines, in which ''' stands for a fence."""
    path = checkout / "var" / "page.md"
    path.write_text(text.replace("'''", FENCE))
    monkeypatch.setattr(pages, "ROOT", path.parent)
    return run_page(Page(path), checkout, dict(os.environ))


def test_a_page_that_does_what_it_shows_has_no_problem(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """# Page
'''sh
name=Ann
'''
'''sh
echo '{"name": "'$name'", "count": 3, "list": [1, 2]}'
'''
'''json
{"name": "…", "count": 1, "list": [7]}
'''
'''python
value = 2
'''
'''python
print(value + 1, "and more")
'''
'''text
3 …
'''
<!-- tested in tests/e2e/test_docs.py -->
'''sh
exit 1
'''
"""
    assert run(checkout, monkeypatch, text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x\n'''sh\ntrue\nfalse\n'''\n", "page.md:2: ended with 1"),
        ("x\n'''sh\nfalse | cat\n'''\n", "page.md:2: ended with 1"),
        ("x\n'''sh\necho $UNSET_HERE\n'''\n", "line 3: UNSET_HERE: unbound"),
        ("x\n\n'''python\n1 / 0\n'''\n", "line 4, in <module>"),
        ("x\n'''sh\necho a\n'''\n'''text\nb\n'''\n", "page.md:5: shows\nb"),
        ("x\n'''sh\necho '{}'\n'''\n'''json\n{\"a\": 1}\n'''\n", "$ shows ['a'] and has []"),
        (
            "x\n'''sh\necho '{\"a\": \"1\"}'\n'''\n'''json\n{\"a\": 1}\n'''\n",
            "$.a is of another type",
        ),
        (
            "x\n'''sh\necho '{\"code\": \"b\"}'\n'''\n'''json\n{\"code\": \"a\"}\n'''\n",
            "$.code is shown as 'a'",
        ),
        ("x\n'''sh\ntrue\n'''\n'''json\n{\"a\": 1}\n'''\n", "shows 1 JSON documents"),
        ("x\n'''sh\nexit 0\n'''\n'''sh\ntrue\n'''\n", "page.md:5: was not run"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    [told] = run(checkout, monkeypatch, text)
    assert problem in told
