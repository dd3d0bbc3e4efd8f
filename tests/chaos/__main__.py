"""`python -m tests.chaos`, or `make chaos`: everything that takes too long for every change."""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app import extensions
from devnet.supervisor import Devnet
from devnet.supervisor.site import CHECKOUT
from tests.chaos.conftest import IN_A_ROW, SETTINGS
from tests.chaos.processes import Zygote
from tests.chaos.stages import STAGES
from tests.chaos.steps import Outcome, Theatre
from tests.chaos.storm import Storm
from tests.chaos.workers import LEASES, WorkerTheatre
from tests.conftest import WORLD, outside_settings
from tests.integration.services.lab import Lab

REPORT = CHECKOUT / "var" / "chaos" / "report.json"
PARTS = ("steps", "storm", "tests")
# How much longer than in every change the tests of this folder run.
LONG_RUN = {"CHAOS_EXAMPLES": "200", "CHAOS_STEPS": "50", "CHAOS_OUTAGE_SECONDS": "60"}
console = Console()


def main() -> int:
    """Runs the parts asked for; 0 where every promise was kept."""
    options = _read_options()
    # However it is ended, the processes that it has started are ended as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console.print(f"seed {options.seed}")
    options.report.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=options.report.with_suffix(".log"), level=logging.INFO)
    report: dict[str, Any] = {"seed": options.seed}
    for part in options.only or PARTS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as directory:
            report[part] = _RUN[part](options, Path(directory))
        report[part]["seconds"] = round(time.monotonic() - began, 1)
        options.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    problems = [problem for part in PARTS if part in report for problem in report[part]["problems"]]
    for problem in problems:
        console.print(problem, style="red", markup=False)
    console.print(f"{len(problems)} problems; the report is {options.report}")
    return 1 if problems else 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=...", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--kills", type=int, default=200, help="how many in the storm")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be repeated")
    parser.add_argument("--stage", action="append", choices=sorted(STAGES), help="of the steps")
    parser.add_argument("--report", type=Path, default=REPORT)
    return parser.parse_args()


def _run_steps(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Kills true workers at every point of every job, and has processes sleep at every point."""
    outcomes: list[Outcome] = []
    slept: list[Outcome] = []
    names = options.stage or list(STAGES)
    with Devnet(directory / "net", environ=outside_settings()) as devnet:
        devnet.up(WORLD)
        lab = Lab(devnet)
        settings = {**SETTINGS, **LEASES}
        lab.configure(**settings)
        extensions.ensure_indexes()
        with Zygote({**devnet.env, **settings}, directory / "workers.log") as zygote:
            theatre = WorkerTheatre(lab, zygote, directory)
            for name in names:
                points = _begin(lab, theatre, name)
                _watch(f"kill {name}", points, outcomes, theatre.kill_at_each, name)
                # Those asleep need no worker of their own, and their leases run out at once.
                sleepers = Theatre(lab, zygote, directory, in_a_row=IN_A_ROW)
                _begin(lab, sleepers, name)
                _watch(f"stop {name}", points, slept, sleepers.stop_at_each, name)
        lab.close()
    bad = [each for each in [*outcomes, *slept] if each.problem]
    return {
        "points": {name: sum(len(o.points) for o in outcomes if o.stage == name) for name in names},
        "killed": sum(len(each.points) for each in outcomes),
        "slept": sum(len(each.points) for each in slept),
        "problems": [f"{each.stage}: {each.points}\n{each.problem}" for each in bad],
    }


def _begin(lab: Lab, theatre: Theatre, name: str) -> list[str]:
    """Empties the world and finds the points of a job."""
    for collection in extensions.DOCUMENTS:
        collection.objects.delete()
    extensions.get().redis.flushdb()
    lab.begin()
    return theatre.discover(STAGES[name])


def _watch(
    title: str,
    points: Sequence[str],
    outcomes: list[Outcome],
    run: Callable[..., None],
    name: str,
) -> None:
    with _progress() as progress:
        task = progress.add_task(title, total=len(points))

        def note(outcome: Outcome) -> None:
            outcomes.append(outcome)
            progress.advance(task, len(outcome.points))

        run(STAGES[name], points, note)


def _run_storm(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Kills at random under load."""
    with _progress() as progress:
        task = progress.add_task("storm", total=options.kills)
        report = Storm(directory / "net", options.seed).run(
            options.kills, lambda done: progress.update(task, completed=done)
        )
    values = asdict(report)
    console.print_json(json.dumps(values))
    return values


def _run_tests(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """The tests of this folder, longer, and with the seed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--timeout",
        "3600",
        str(Path(__file__).parent),
    ]
    command += [f"--hypothesis-seed={options.seed}"]
    done = subprocess.run(command, cwd=CHECKOUT, env={**os.environ, **LONG_RUN}, check=False)
    problems = [] if done.returncode == 0 else [f"pytest ended with {done.returncode}"]
    return {"problems": problems}


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


_RUN: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "steps": _run_steps,
    "storm": _run_storm,
    "tests": _run_tests,
}

if __name__ == "__main__":
    sys.exit(main())
