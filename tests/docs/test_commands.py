"""What pages name exists: commands with their options, make targets, settings, files, routes.

Blocks of shell are run elsewhere (tests/e2e/test_docs.py); what only a real host can run is held
against the code here.
"""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache

import click
import pytest

from app.config import IGNORED_SETTINGS, Settings
from devnet.commands import devnet
from signer.cli import cli as signer_cli
from tests.docs.pages import ROOT, Page, list_pages

PAGES = [page for page in list_pages() if page.name != "clients/python/README.md"]
_MANAGE = re.compile(r"(?:manage\.py|manage\.sh|compose run --rm manage) +([a-z][^|;&<>)#]*)")
_SIGNER = re.compile(r"(?:-m signer|manage\.sh --signer|run --rm signer) +([a-z][^|;&<>)#]*)")
_MAKE = re.compile(r"(?<![\w-])make ([a-z]+)\b")
_OPTION = re.compile(r"--[a-z][a-z-]*")
_SETTING = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_FILE = re.compile(
    r"(?:app|deploy|docs|nginx|tests|scripts|migrations|tasks|clients/python)/[\w./@%-]+\w"
)
_PAGE_IDS = {"ids": lambda page: page.name}


@cache
def manage() -> dict[str, click.Command]:
    names = (path.stem for path in (ROOT / "app" / "commands").glob("[a-z]*.py"))
    groups = {
        name: getattr(importlib.import_module(f"app.commands.{name}"), name) for name in names
    }
    return {**groups, "devnet": devnet}


def find_problem(words: list[str], commands: dict[str, click.Command]) -> str | None:
    """Tells what of a command line does not exist; a word that no command is ends the search."""
    command: click.Command | None = None
    for word in words:
        if isinstance(command, click.Command) and not isinstance(command, click.Group):
            break
        known = command.commands if isinstance(command, click.Group) else commands
        if word.startswith("-"):
            break
        if word not in known:
            return f"no command {word}"
        command = known[word]
    assert command is not None
    options = {name for each in command.params for name in each.opts} | {"--help"}
    unknown = [word for word in words if _OPTION.fullmatch(word) and word not in options]
    return f"no option {unknown[0]}" if unknown else None


def split(line: str) -> list[str]:
    """The words of a command line; what is left out in an example is no word."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    return [word.partition("=")[0].strip("…,.") for word in words if word.strip("…,.")]


def list_calls(page: Page, pattern: re.Pattern[str]) -> Iterator[tuple[str, list[str]]]:
    for line in page.commands:
        for match in pattern.finditer(line):
            yield line, split(match[1])


@pytest.mark.parametrize("page", PAGES, **_PAGE_IDS)
def test_o16_commands_of_manage_exist_with_their_options(page: Page) -> None:
    problems = [
        f"{line}: {problem}"
        for line, words in list_calls(page, _MANAGE)
        if words and (problem := find_problem(words, manage()))
    ]
    assert problems == []


@pytest.mark.parametrize("page", PAGES, **_PAGE_IDS)
def test_o16_commands_of_the_signer_exist_with_their_options(page: Page) -> None:
    problems = [
        f"{line}: {problem}"
        for line, words in list_calls(page, _SIGNER)
        if words and (problem := find_problem(words, dict(signer_cli.commands)))
    ]
    assert problems == []


@pytest.mark.parametrize("page", PAGES, **_PAGE_IDS)
def test_o16_make_targets_exist(page: Page) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {match[1] for line in page.commands for match in _MAKE.finditer(line)}
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, **_PAGE_IDS)
def test_o16_files_exist(page: Page) -> None:
    named = {
        match[0]
        for line in page.commands
        for match in _FILE.finditer(line)
        # Not part of a longer path, of a host for example.
        if not re.search(r"[\w./$-]$", line[: match.start()]) and "YYYY" not in match[0]
    }
    missing = [name for name in sorted(named) if not (ROOT / name).exists()]
    assert missing == []


@cache
def known_names() -> frozenset[str]:
    """Settings of every process and script, and whatever else is written in capitals there."""
    fields = {name.upper() for name in Settings.model_fields}
    sources = [
        *sorted(ROOT.glob("app/**/*.py")),
        *sorted(ROOT.glob("devnet/**/*.py")),
        *sorted(ROOT.glob("signer/*.py")),
        *sorted(ROOT.glob("tasks/*.py")),
        # Measurements and chaos have variables of their own; other tests prove no name.
        *sorted(ROOT.glob("tests/bench/*.py")),
        *sorted(ROOT.glob("tests/chaos/*.py")),
        *sorted(ROOT.glob("deploy/**/*")),
        *sorted(ROOT.glob("nginx/*")),
        *sorted(ROOT.glob("scripts/*")),
        *sorted(ROOT.glob("clients/**/*.py")),
        ROOT / "Makefile",
        ROOT / "compose.yaml",
        ROOT / "Dockerfile",
    ]
    text = "\n".join(path.read_text(errors="replace") for path in sources if path.is_file())
    return frozenset(fields | IGNORED_SETTINGS | set(_SETTING.findall(text)))


@pytest.mark.parametrize("page", PAGES, **_PAGE_IDS)
def test_o16_settings_exist(page: Page) -> None:
    set_in_page = set(re.findall(r"\b([A-Z][A-Z0-9_]*)=", "\n".join(page.commands)))
    named = {
        name.removesuffix("_FILE")
        for span in page.spans
        for name in _SETTING.findall(span)
        if name not in set_in_page
    }
    # A page may name what a group of settings begins with.
    begins = {name for name in named if any(each.startswith(f"{name}_") for each in known_names())}
    assert named - known_names() - begins == set()


@pytest.mark.parametrize("page", PAGES, **_PAGE_IDS)
def test_blocks_that_are_not_run_look_like_it(page: Page) -> None:
    """Shell is `sh` where it is run, and `console` with a prompt where it can't be."""
    for block in page.blocks:
        if block.language == "console":
            assert block.text.startswith(("$ ", "# ")), f"{page.name}:{block.line}"
        if block.language == "":
            words = ("curl ", "make ", "manage.py ", "python ", "sudo ", "docker ", "$ ", "# ")
            assert not block.text.startswith(words), f"{page.name}:{block.line}"
        assert block.language not in ("bash", "shell"), f"{page.name}:{block.line}"
        if block.tested_in is not None:
            assert (ROOT / block.tested_in).is_file(), f"{page.name}:{block.line}"
