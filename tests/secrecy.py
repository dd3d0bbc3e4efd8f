"""Looks through everything that a test run has logged for what no log may hold.

Logs are the files `*.log` of the processes that the run has started and the JSON lines that the
application has written inside the tests. They are searched when the run ends, whatever tests it
was made of; a finding fails the run.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest

# What gives a secret away by its shape. Times in challenges are of this century's tests.
SHAPES = {
    "a login challenge": re.compile(r"\b00000000[5-9a-f][0-9a-f]{39}\b", re.IGNORECASE),
    "a public key": re.compile(r"\b0[23][0-9a-f]{64}\b", re.IGNORECASE),
    "an email address": re.compile(
        r"[\w.+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}", re.IGNORECASE
    ),
    "a code of six digits": re.compile(r"\bcode\b\W{1,20}[1-9]\d{5}\b", re.IGNORECASE),
    "a token": re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"),
    "an API key": re.compile(r"\bpp_[0-9a-z]{6,}_[\w-]{20,}", re.IGNORECASE),
}
_SHORTEST_SECRET = 16
_SHOWN = 160
_SHOWN_LEAKS = 20


@dataclass(frozen=True)
class Leak:
    """Where a log holds what, with enough of the line to find who wrote it."""

    what: str
    source: str
    excerpt: str


def find_leaks(lines: Iterable[tuple[str, str]], secrets: dict[str, str]) -> Iterator[Leak]:
    """Searches lines, each with the name of its log, for secrets (value -> name) and shapes."""
    known = re.compile("|".join(map(re.escape, secrets))) if secrets else None
    for source, line in lines:
        if known is not None and (match := known.search(line)):
            yield Leak(secrets[match[0]], source, _excerpt(line, match))
        for what, shape in SHAPES.items():
            if match := shape.search(line):
                yield Leak(what, source, _excerpt(line, match))


def read_logs(directory: Path) -> Iterator[tuple[str, str]]:
    """Reads the lines of every log below a directory."""
    for path in sorted(directory.rglob("*.log*")):
        if path.is_file() and not path.is_symlink():
            with path.open(encoding="utf-8", errors="replace") as file:
                yield from ((str(path.relative_to(directory)), line) for line in file)


def read_secrets(directory: Path) -> dict[str, str]:
    """Reads what each devnet below a directory keeps secret: value -> name."""
    secrets = {}
    for path in directory.rglob("secrets/*"):
        value = path.read_text(encoding="utf-8", errors="replace").strip()
        if len(value) >= _SHORTEST_SECRET:
            secrets[value] = f"the secret {path.name}"
    return secrets


def _excerpt(line: str, match: re.Match[str]) -> str:
    start = max(0, match.start() - _SHOWN // 2)
    return line[start : match.end() + _SHOWN // 2].strip()


class LogSearch:
    """Searches the logs at the end of a run, as a plugin of pytest."""

    def __init__(self) -> None:
        self._leaks: list[Leak] = []
        # Where the lines wait: they may be more than memory should hold.
        self._lines = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the JSON lines that the application has written inside a test."""
        for line in report.capstderr.splitlines():
            if line.startswith("{"):
                self._lines.write(f"{report.nodeid}\t{line}\n")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run whose logs hold what they must not."""
        directory = session.config._tmp_path_factory.getbasetemp()
        logged = chain(read_logs(directory), self._read_lines())
        self._leaks += find_leaks(logged, read_secrets(directory))
        if self._leaks and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what the logs should not have held."""
        if self._leaks:
            terminalreporter.section("secrets in logs", red=True)
        for leak in self._leaks[:_SHOWN_LEAKS]:
            terminalreporter.line(f"{leak.what} in {leak.source}: {leak.excerpt}")

    def pytest_unconfigure(self) -> None:
        """Give the lines up."""
        self._lines.close()

    def _read_lines(self) -> Iterator[tuple[str, str]]:
        self._lines.seek(0)
        for entry in self._lines:
            test, _, line = entry.partition("\t")
            yield test, line
