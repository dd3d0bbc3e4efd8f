"""Takes times in rounds that alternate, so that a busy machine is as busy for all, and shows them.

What is compared is measured in the same run; the ratio says more than the milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

MEMORY_COLUMNS = ("MiB", "MiB to itself")
MEBIBYTE = 1024 * 1024
_WIDTH = 132


@dataclass(frozen=True)
class Cost:
    """What one unit of work took: milliseconds by the clock, and of CPU in the process measured."""

    milliseconds: float
    cpu_milliseconds: float

    @property
    def per_second(self) -> float:
        return 1000 / self.milliseconds

    def over(self, raw: Cost) -> str:
        """How many times the raw limit this is, as text."""
        return f"{self.milliseconds / raw.milliseconds:.1f}"


# Does some work and answers how many units it was.
Work = Callable[[], int]
# Seconds of CPU that were spent so far by whoever does the work.
Clock = Callable[[], float]


def measure(work: Work, cpu_clock: Clock = time.process_time) -> Cost:
    """Does the work once; answers the cost of a unit. CPU is that of this process, all threads."""
    cpu_started, started = cpu_clock(), time.perf_counter()
    units = work()
    seconds, cpu_seconds = time.perf_counter() - started, cpu_clock() - cpu_started
    return Cost(seconds * 1000 / units, cpu_seconds * 1000 / units)


def middle(costs: Sequence[Cost]) -> Cost:
    """The medians of several rounds."""
    return Cost(
        median(cost.milliseconds for cost in costs),
        median(cost.cpu_milliseconds for cost in costs),
    )


def in_turn(
    works: Mapping[str, Work],
    *,
    rounds: int,
    cpu_clocks: Mapping[str, Clock] | None = None,
) -> dict[str, Cost]:
    """Does each work once to warm up, then all of them in turn, `rounds` times; answers medians."""
    clocks = cpu_clocks or {}
    for work in works.values():
        work()
    costs: dict[str, list[Cost]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            costs[name].append(measure(work, clocks.get(name, time.process_time)))
    return {name: middle(taken) for name, taken in costs.items()}


def repeat(times: int, once: Callable[[], object]) -> Work:
    """Work of so many units, each a call of `once`."""

    def work() -> int:
        for _ in range(times):
            once()
        return times

    return work


def cpu_of(processes: Sequence[psutil.Process]) -> Clock:
    """A clock of the CPU that other processes spend; it ticks every ten milliseconds."""

    def clock() -> float:
        times = [process.cpu_times() for process in processes]
        return sum(each.user + each.system for each in times)

    return clock


def memory(processes: Sequence[psutil.Process]) -> list[float]:
    """What the largest of these takes, and has to itself, in MiB."""
    infos = [process.memory_full_info() for process in processes]
    return [max(info.rss for info in infos) / MEBIBYTE, max(info.uss for info in infos) / MEBIBYTE]


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table as Markdown, the first column to the left and numbers to the right."""
    table = Table(box=box.MARKDOWN, title=f"\n{title}", title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_spell(cell) for cell in row))
    Console(width=_WIDTH, highlight=False).print(table)


def _spell(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    if cell >= 100:
        return f"{cell:.0f}"
    return f"{cell:.1f}" if cell >= 10 else f"{cell:.2f}"
