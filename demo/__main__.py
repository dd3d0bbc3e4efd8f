"""`python -m demo`: the whole system on this machine, for a minute."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from demo.catalogue import choose_products
from demo.errors import StepFailedError
from demo.host import Host
from demo.report import Report, print_report, to_text
from demo.stage import Stage
from demo.story import Story
from devnet.supervisor.interruption import interruptible
from devnet.supervisor.site import DIRECTORY_VARIABLE
from devnet.supervisor.supervisor import DEFAULT_DIRECTORY

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
# Where nobody looks at a window, a line holds what it has to.
UNWATCHED_WIDTH = 140


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running, to look around.")
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=25,
    show_default=True,
    help="Products to register; beyond 25 the catalogue is used again, with other tags.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for a program.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=DIRECTORY_VARIABLE,
    default=DEFAULT_DIRECTORY,
    help=f"Where the devnet lives (var/devnet, or {DIRECTORY_VARIABLE}).",
)
def demo(*, keep: bool, count: int, as_json: bool, directory: Path) -> None:
    """Register, verify, hand on, unlock and prove patches on a chain of this machine.

    Starts the processes of production (gunicorn, a Celery worker, beat, a signer, databases) and a
    chain that checks every script, plays the main job over HTTP, compares each answer with the
    transaction on the chain, and stops what it has started. A devnet that runs already is used and
    left running. Each run sews in new tags, so it can be repeated.

    \b
    Examples:
      python -m demo                   about a minute, then everything is stopped
      python -m demo --keep            and look around:
        source var/devnet/env
        curl "$BASE_URL/v1/patches/verify/UID"
        python manage.py devnet down
      python -m demo --json > run.json

    \b
    Exit codes: 0 all of it held, 1 a step failed (it says which, and where its log is),
    130 interrupted.
    """
    begun = time.monotonic()
    console = _console(as_json=as_json)
    host = Host(directory)
    stage = Stage(console, host.log_path)
    with interruptible(), _explained(console, as_json=as_json), host:
        host.start(stage)
        rows = Story(stage, host.exports, choose_products(count)).tell()
        report = Report(rows, stage.steps, time.monotonic() - begun)
        report_path = host.write_report(to_text(report))
        if as_json:
            click.echo(to_text(report))
        else:
            print_report(console, report, str(report_path))
        host.finish(stage, rows, keep=keep)
    console.print(f"[dim]{time.monotonic() - begun:.1f} seconds in all[/]", highlight=False)


def _console(*, as_json: bool) -> Console:
    console = Console(stderr=as_json)
    return console if console.is_terminal else Console(stderr=as_json, width=UNWATCHED_WIDTH)


@contextmanager
def _explained(console: Console, *, as_json: bool) -> Iterator[None]:
    """Turns what ends a run early into a sentence, or JSON, and an exit code."""
    try:
        yield
    except StepFailedError as error:
        if as_json:
            failure = {"step": error.step, "error": error.reason, "log": str(error.log_path)}
            click.echo(json.dumps({"status": "failed", **failure}, ensure_ascii=False))
        console.print(f"[bold red]✗ {error.step}[/]", highlight=False)
        console.print(f"  {error.reason}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"  Its log is {error.log_path}", highlight=False, soft_wrap=True)
        raise SystemExit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        console.print("Interrupted; everything that was started has been stopped.")
        raise SystemExit(EXIT_INTERRUPTED) from None


if __name__ == "__main__":
    demo(prog_name="python -m demo")
