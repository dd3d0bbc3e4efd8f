"""Shows what happens step by step, and says of a failed step where to look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import requests
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from demo.errors import DemoError, StepFailedError
from devnet.supervisor import DevnetError, PartFailedError
from patchproof_client import PatchProofError

THREADS = 4

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Step:
    """One step while it is shown; `note` is what it found out, for the line that stays."""

    def __init__(self, title: str, progress: Progress) -> None:
        self.title = title
        self.note = ""
        self.seconds = 0.0
        self._progress = progress
        self._bar = progress.add_task(escape(title), total=None)

    def show(self, text: str) -> None:
        """Prints a line that belongs to this step."""
        self._progress.console.print(f"[dim]{'':10}{escape(text)}[/]", highlight=False)

    def each(self, items: Sequence[ItemT], work: Callable[[ItemT], ResultT]) -> list[ResultT]:
        """Works on many things at once and fills the bar; answers in their order.

        The first failure gives up those that have not begun.
        """
        self._progress.update(self._bar, total=len(items), completed=0)
        pool = ThreadPoolExecutor(THREADS)
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
                self._progress.advance(self._bar)
        finally:
            # Not waited for: what has begun ends when its client is closed.
            pool.shutdown(wait=False, cancel_futures=True)
        return [future.result() for future in futures]


class Stage:
    """Where the demo is played: a console for people, and what each step took."""

    def __init__(self, console: Console, log_path: Callable[[str], Path]) -> None:
        self.console = console
        self.steps: list[Step] = []
        self._log_path = log_path

    @contextmanager
    def step(self, title: str, part: str) -> Iterator[Step]:
        """Shows a step; what fails in it becomes StepFailedError with the log of `part`."""
        begun = time.monotonic()
        try:
            with self._progress() as progress:
                step = Step(title, progress)
                yield step
        except PartFailedError as error:
            reason = f"{error.part} did not start: {error.reason}"
            raise StepFailedError(title, reason, error.log_path) from error
        except _FAILURES as error:
            raise StepFailedError(title, _describe(error), self._log_path(part)) from error
        step.seconds = time.monotonic() - begun
        self.steps.append(step)
        note = f"  [dim]{escape(step.note)}[/]" if step.note else ""
        self.console.print(
            f"[green]✓[/] {step.seconds:5.1f} s  {escape(title)}{note}", highlight=False
        )

    def _progress(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )


# Their texts are sentences.
_TOLD = (DemoError, DevnetError, PatchProofError)
# What a part, the network or an answer of another shape than the contract's can bring about.
_FAILURES = (*_TOLD, requests.RequestException, ValueError, LookupError, OSError)


def _describe(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, _TOLD) else f"{type(error).__name__}: {text}"
