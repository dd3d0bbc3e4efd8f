"""What tests say to the zygote: start this, wait for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from devnet.supervisor.site import CHECKOUT

KILLED = -9
# The exit code of a process whose work was refused with an error of the domain.
REFUSED = 3
# What the web part does for a request, beside the tasks of workers.
ACCEPT = "accept-registration"
BATCH = "anchor-batch"
REQUESTS = (ACCEPT, BATCH)


@dataclass(frozen=True)
class Job:
    """A process to be: one task, or Celery with these words; where it ends, if before its end."""

    task: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    celery: Sequence[str] = ()
    point: str | None = None
    end: str = "kill"
    trace: str | None = None
    not_before: float = 0.0
    request_id: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class Zygote:
    """The zygote of one environment. Its children's logs go to one file."""

    def __init__(self, environment: Mapping[str, str], log_path: Path) -> None:
        self.log_path = log_path
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.zygote"],
                cwd=CHECKOUT,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._running: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pid in list(self._running):
            self.kill(pid)
        self._process.communicate(timeout=10)

    def start(self, job: Job) -> int:
        """Starts a process; answers its pid, which is its session too."""
        pid: int = self._ask({"start": asdict(job)})["pid"]
        self._running.add(pid)
        return pid

    def wait(self, pid: int) -> int:
        """Waits for its end; answers the exit code, negative for a signal."""
        code: int = self._ask({"wait": pid})["code"]
        self._running.discard(pid)
        return code

    def run(self, job: Job) -> int:
        return self.wait(self.start(job))

    def wait_for(self, pid: int, *, seconds: float) -> int | None:
        """The same as `wait`, but not for ever: None where it still runs."""
        with suppress(AssertionError):
            wait_until(lambda: has_ended(pid), seconds=seconds)
            return self.wait(pid)
        return None

    def kill(self, pid: int) -> None:
        """Ends a process and what it has started, at once."""
        # Itself first: it may not be the head of its own session yet.
        os.kill(pid, signal.SIGKILL)
        for member in members(pid):
            with suppress(psutil.NoSuchProcess):
                member.kill()
        self.wait(pid)

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(command)}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the zygote has ended, see {self.log_path}"
        answer: dict[str, Any] = json.loads(line)
        return answer


def members(session: int) -> list[psutil.Process]:
    """The running processes of a session."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def has_ended(pid: int) -> bool:
    """Whether a process of the zygote is over, and nobody has waited for it yet."""
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def is_asleep_or_over(pid: int) -> bool:
    """Whether a process of the zygote has stopped, for now or for ever."""
    return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)


def wait_until(
    is_so: Callable[[], bool], *, seconds: float = 30.0, pause: float = 0.05, what: str = "it"
) -> None:
    """Waits until it is so, and not for ever."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} is not so after {seconds} seconds")
        time.sleep(pause)
