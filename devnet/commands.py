"""The `devnet` group of `manage.py`: everything that the application needs, on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from devnet.supervisor import (
    PARTS,
    Devnet,
    DevnetError,
    PartFailedError,
    PartState,
    PartStatus,
    ProductionRefusedError,
)
from devnet.supervisor.interruption import interruptible
from devnet.supervisor.site import DIRECTORY_VARIABLE
from devnet.supervisor.supervisor import DEFAULT_DIRECTORY, START_SECONDS
from devnet.supervisor.tailing import follow, last_lines

EXIT_FAILED, EXIT_REFUSED, EXIT_INTERRUPTED = 1, 5, 130
STYLES = {
    PartState.READY: "green",
    PartState.EXTERNAL: "cyan",
    PartState.UNREADY: "yellow",
    PartState.STOPPED: "red",
}

Command = TypeVar("Command", bound=Callable[..., Any])


def _directory_option(command: Command) -> Command:
    return click.option(
        "--dir",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        envvar=DIRECTORY_VARIABLE,
        default=DEFAULT_DIRECTORY,
        help=f"Where the devnet lives (var/devnet, or {DIRECTORY_VARIABLE}).",
    )(command)


def _json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")(
        command
    )


def _read_parts(context: click.Context, option: click.Parameter, value: str | None) -> list[str]:
    names = [name.strip() for name in (value or ",".join(PARTS)).split(",")]
    if unknown := [name for name in names if name not in PARTS]:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    return names


@click.group()
def devnet() -> None:
    """Run a chain, a signer, databases, mail and the application on this machine.

    \b
    Examples:
      python manage.py devnet up --detach
      source var/devnet/env
      python manage.py devnet logs worker -f
      python manage.py devnet down
    """


@devnet.command()
@_directory_option
@_json_option
@click.option("--detach", is_flag=True, help="Come back once everything answers.")
@click.option("--only", callback=_read_parts, help="Start just these parts, with commas.")
@click.option("--timeout", type=float, default=START_SECONDS, help="Seconds until all answer.")
@click.option("--mine-interval", type=float, help="Mine a block each so many seconds.")
def up(
    directory: Path,
    as_json: bool,
    detach: bool,
    only: list[str],
    timeout: float,
    mine_interval: float | None,
) -> None:
    """Start what does not run yet and wait until every part answers.

    Without --detach it shows the logs until Ctrl-C, which stops everything.

    \b
    Exit codes: 0 ready, 1 a part did not start, 5 refused where APP_ENV is production.
    """
    console = Console(stderr=True, quiet=as_json)
    net = Devnet(directory)
    with interruptible(), _explained(as_json):
        with console.status("Starting the devnet"):
            started = net.up(
                only,
                timeout_seconds=timeout,
                mine_interval_seconds=mine_interval,
                on_ready=lambda part, seconds: console.print(
                    f"[green]✓[/] {part:<9} answers [dim]after {seconds:.1f} s[/]"
                ),
            )
        is_staying = bool(started) and not detach
        with _stopping_at_the_end(console, net) if is_staying else nullcontext():
            if as_json:
                click.echo(json.dumps(_report(net, started)))
            else:
                _print_ready(console, net, started)
            if is_staying:
                _watch(console, net, only, quiet=as_json)


@devnet.command()
@_directory_option
@_json_option
def status(directory: Path, as_json: bool) -> None:
    """Ask every part whether it works. Exit code 1 unless all do."""
    net = Devnet(directory)
    rows = net.status()
    if as_json:
        click.echo(json.dumps([row.to_json() for row in rows]))
    else:
        Console().print(_table(rows))
    if not all(row.is_ready for row in rows):
        raise SystemExit(EXIT_FAILED)


@devnet.command()
@_directory_option
@click.argument("part", required=False, type=click.Choice(list(PARTS)))
@click.option("-f", "--follow", "is_following", is_flag=True, help="Wait for further lines.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=40, help="Lines of each part.")
def logs(directory: Path, part: str | None, is_following: bool, lines: int) -> None:
    """Show the log of PART, or of all parts."""
    net = Devnet(directory)
    paths = {name: net.log_path(name) for name in ([part] if part else PARTS)}
    for name, path in paths.items():
        for line in last_lines(path, lines):
            _print_line(name, line)
    if is_following:
        with interruptible(), _explained(as_json=False):
            for entry in follow(paths):
                if entry is not None:
                    _print_line(*entry)


@devnet.command()
@_directory_option
@_json_option
def down(directory: Path, as_json: bool) -> None:
    """Stop every process of the devnet. What it has stored stays."""
    stopped = Devnet(directory).down()
    if as_json:
        click.echo(json.dumps({"stopped": stopped}))
    elif stopped:
        click.echo(f"Stopped {', '.join(stopped)}.")
    else:
        click.echo("Nothing was running.")


def _watch(console: Console, net: Devnet, parts: list[str], *, quiet: bool) -> None:
    """Show the logs until no part is left."""
    reported: set[str] = set()
    for entry in follow({name: net.log_path(name) for name in parts}):
        if entry is not None:
            if not quiet:
                _print_line(*entry)
            continue
        ended = net.list_ended()
        for part in ended.keys() - reported:
            console.print(
                f"[red]{part} ended with exit code {ended[part]}[/]; "
                "`manage.py devnet up` in another shell starts it again"
            )
        reported |= ended.keys()
        if not net.is_running():
            return


@contextmanager
def _stopping_at_the_end(console: Console, net: Devnet) -> Iterator[None]:
    """Take an interruption for the wish to stop, which is no failure."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopping the devnet")
    finally:
        net.down()


def _report(net: Devnet, started: list[str]) -> dict[str, Any]:
    return {
        "status": "ready",
        "started": started,
        "base_url": net.env.get("BASE_URL"),
        "env_file": str(net.directory / "env"),
        "parts": [row.to_json() for row in net.status()],
    }


def _print_ready(console: Console, net: Devnet, started: list[str]) -> None:
    if not started:
        console.print("The devnet is already running.")
    console.print(_table(net.status()))
    if "BASE_URL" in net.env:
        console.print(f"The API answers at {net.env['BASE_URL']}", highlight=False, soft_wrap=True)
    console.print(
        f"Use it from a shell: source {net.directory / 'env'}", highlight=False, soft_wrap=True
    )


def _table(rows: list[PartStatus]) -> Table:
    table = Table("part", "state", "pid", "port", "problem", box=None, header_style="bold")
    for row in rows:
        state = f"[{STYLES[row.state]}]{row.state}[/]"
        table.add_row(row.part, state, _text(row.pid), _text(row.port), _text(row.problem))
    return table


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _print_line(part: str, line: str) -> None:
    click.echo(f"{click.style(f'{part:>9}', dim=True)} | {line}")


@contextmanager
def _explained(as_json: bool) -> Iterator[None]:
    """Turn what went wrong into a sentence, or JSON, and an exit code."""
    try:
        yield
    except DevnetError as error:
        if as_json:
            click.echo(json.dumps({"status": "failed", "error": str(error), **_failure(error)}))
        else:
            click.echo(f"Error: {error}", err=True)
        is_refused = isinstance(error, ProductionRefusedError)
        raise SystemExit(EXIT_REFUSED if is_refused else EXIT_FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None


def _failure(error: DevnetError) -> dict[str, str]:
    if not isinstance(error, PartFailedError):
        return {}
    return {"part": error.part, "reason": error.reason, "log": str(error.log_path)}
