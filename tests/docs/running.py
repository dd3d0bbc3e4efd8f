"""Runs what a page tells its reader to type: its shell blocks as one script, then its Python.

Every line keeps its number, so an error names the line of the page.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.docs.answers import find_json_problem, find_text_problem
from tests.docs.pages import ROOT, Block, Page

_MARK = "\x1e"
# A page takes a few seconds; a machine with much else to do may take many times that.
PAGE_SECONDS = 200.0
# Not linked: a page's `var` is its own, and what git and tools keep is nobody's business.
_OWN = {"var", ".git", ".venv"}


def make_checkout(directory: Path) -> Path:
    """Make a checkout whose files are those of this one, and whose `var` is empty.

    `manage.py` is a command there, as pages write it.
    """
    directory.mkdir()
    for path in ROOT.iterdir():
        if path.name not in _OWN:
            (directory / path.name).symlink_to(path)
    (directory / ".venv").symlink_to(sys.prefix)
    (directory / "var").mkdir()
    command = directory / "var" / "bin" / "manage.py"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/manage.py" "$@"\n')
    command.chmod(0o755)
    return directory


def run_page(page: Page, checkout: Path, environment: Mapping[str, str]) -> list[str]:
    """Run all blocks of a page; answers what went wrong, with the page's lines."""
    folder = checkout / "var"
    environment = {
        **environment,
        "PATH": f"{folder / 'bin'}:{checkout / '.venv' / 'bin'}:{environment['PATH']}",
    }
    problems = []
    for language, program, write in _LANGUAGES:
        blocks = [
            block for block in page.blocks if block.language == language and block.tested_in is None
        ]
        if blocks:
            script = folder / f"{page.name.replace('/', '-')}.{language}"
            script.write_text(write(page, blocks), encoding="utf-8")
            problems += _run(page, blocks, [*program, str(script)], checkout, environment)
    return problems


def _run(
    page: Page, blocks: list[Block], words: list[str], cwd: Path, environment: Mapping[str, str]
) -> list[str]:
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PAGE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return [f"{page.name}: not done after {PAGE_SECONDS} s\n{late.stdout!r}\n{late.stderr!r}"]
    told = dict(_split(done.stdout))
    if done.returncode:
        line = max(told, default=blocks[0].line)
        output = f"{told.get(line, '')}\n{done.stderr}"
        return [f"{page.name}:{line}: ended with {done.returncode}\n{output}"]
    # A block may end the shell, as `exit` does; what follows it has to be run all the same.
    unrun = [f"{page.name}:{block.line}: was not run" for block in blocks if block.line not in told]
    return unrun or [
        f"{page.name}:{block.answer.line}: {problem}"
        for block in blocks
        if block.answer is not None
        if (problem := _find_problem(block.answer, told[block.line]))
    ]


def _find_problem(answer: Block, told: str) -> str | None:
    find = find_json_problem if answer.language == "json" else find_text_problem
    return find(answer.text, told)


def _split(output: str) -> Iterator[tuple[int, str]]:
    for part in output.split(_MARK)[1:]:
        line, _, text = part.partition("\n")
        yield int(line), text


def _write_shell(page: Page, blocks: list[Block]) -> str:
    return _write(page, blocks, "set -euo pipefail", "printf '\\036%s\\n' {line}")


def _write_python(page: Page, blocks: list[Block]) -> str:
    return _write(page, blocks, "", r"print('\x1e{line}', flush=True)")


def _write(page: Page, blocks: list[Block], first: str, mark: str) -> str:
    lines = [first, *[""] * len(page.text.splitlines())]
    for block in blocks:
        lines[block.line - 1] = mark.format(line=block.line)
        lines[block.line : block.line + len(block.lines)] = block.lines
    return "\n".join(lines) + "\n"


_LANGUAGES: tuple[tuple[str, list[str], Callable[[Page, list[Block]], str]], ...] = (
    ("sh", ["/bin/bash"], _write_shell),
    ("python", [sys.executable, "-W", "error"], _write_python),
)
