"""Starts processes that shall not start, several at once, and tells how they ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from devnet.supervisor.site import CHECKOUT

Environ = dict[str, str]
IN_TIME_SECONDS = 30.0
# What is closed on every machine.
NOBODY = "127.0.0.1:1"


@dataclass(frozen=True)
class Case:
    """Changes of the environment, None takes a name away, and what the sentence must say."""

    changes: Mapping[str, str | None]
    says: str


@dataclass(frozen=True)
class Ended:
    """How a process ended; `is_whole` tells that nothing of it is left."""

    case: Case
    code: int
    seconds: float
    output: str
    is_whole: bool

    def find_problem(self, *, is_timed: bool = True) -> str | None:
        """What is not as it must be, None where all is well."""
        wrong = [
            "it ended well" if self.code == 0 else "",
            "it shows a stack" if "Traceback" in self.output else "",
            "it names nothing" if self.case.says not in self.output else "",
            "something of it still runs" if not self.is_whole else "",
            "it took too long" if is_timed and self.seconds > IN_TIME_SECONDS else "",
        ]
        found = "; ".join(word for word in wrong if word)
        return f"{self.case}: {found}\n{self.output}" if found else None


def web(directory: Path) -> list[str]:
    configuration = str(CHECKOUT / "deploy" / "gunicorn.conf.py")
    command = [sys.executable, "-m", "gunicorn", "--config", configuration]
    return [*command, "--bind", "127.0.0.1:0", "wsgi:app"]


def worker(directory: Path) -> list[str]:
    command = [sys.executable, "-m", "celery", "-A", "tasks.worker", "worker"]
    command += ["--queues", "anchoring", "--concurrency", "1"]
    return [*command, "--without-gossip", "--without-mingle"]


def beat(directory: Path) -> list[str]:
    command = [sys.executable, "-m", "celery", "-A", "tasks.worker", "beat"]
    return [*command, "--schedule", str(directory / "schedule"), "--pidfile="]


def signer(directory: Path) -> list[str]:
    return [sys.executable, "-m", "signer", "serve"]


PROCESSES: dict[str, Callable[[Path], list[str]]] = {"web": web, "worker": worker, "beat": beat}


def end_all(
    make_command: Callable[[Path], list[str]],
    environ: Environ,
    cases: list[Case],
    directory: Path,
    *,
    at_once: int = 4,
) -> list[Ended]:
    """Starts the process once for each case; returns when all have ended."""

    def run(numbered: tuple[int, Case]) -> Ended:
        number, case = numbered
        own = directory / str(number)
        own.mkdir()
        return _end(make_command(own), _changed(environ, case), case)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(run, enumerate(cases)))


def list_problems(ended: list[Ended]) -> list[str]:
    return [problem for each in ended if (problem := each.find_problem()) is not None]


def _changed(environ: Environ, case: Case) -> Environ:
    merged = {**environ, **case.changes}
    return {name: value for name, value in merged.items() if value is not None}


def _end(command: list[str], environ: Environ, case: Case) -> Ended:
    begun = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=2 * IN_TIME_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            output, _ = process.communicate()
    seconds = time.monotonic() - begun
    return Ended(case, process.returncode, seconds, output, not _is_left(process.pid))


def _is_left(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
