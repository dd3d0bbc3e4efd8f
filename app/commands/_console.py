"""What every command shares: services made ready, answers for people and for programs."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from enum import IntEnum
from typing import Any, ParamSpec, TypeVar

import click
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app import extensions, logs
from app.clients.outcomes import ClientError
from app.config import Settings, SettingsError, load_settings
from app.errors import LockHeldError, PatchProofError, UnavailableError
from app.services import start_checks
from app.services.start_checks import Kind

P = ParamSpec("P")
R = TypeVar("R")


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    NOTHING_TO_DO = 2
    LOCK_HELD = 3
    SERVICE_AWAY = 4
    REFUSED = 5


class CommandError(click.ClickException):
    """One sentence on stderr and an exit code that means something."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = int(exit_code)  # type: ignore[misc]  # click reads it from the instance


def with_services(command: Callable[P, R]) -> Callable[P, R]:
    """Reads the settings and makes the services ready; maps their errors to exit codes.

    Every connection is closed at the end, so that the process ends with its work.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            settings = load_settings()
        except SettingsError as error:
            raise CommandError(str(error), ExitCode.FAILED) from None
        logs.configure("warning", service="manage", release=settings.deploy_sha)
        _open(settings)
        try:
            return command(*args, **kwargs)
        except LockHeldError as error:
            raise CommandError(error.message, ExitCode.LOCK_HELD) from error
        except (ClientError, UnavailableError) as error:
            raise CommandError(str(error), ExitCode.SERVICE_AWAY) from error
        except RedisError as error:
            raise CommandError(f"Redis: {type(error).__name__}", ExitCode.SERVICE_AWAY) from error
        except PyMongoError as error:
            text = logs.strip_credentials(str(error)).split(", Timeout")[0]
            raise CommandError(f"the database: {text}", ExitCode.SERVICE_AWAY) from error
        except PatchProofError as error:
            raise CommandError(error.message, ExitCode.REFUSED) from error
        finally:
            close_services()

    return wrapper


def _open(settings: Settings) -> None:
    """Makes the services; what a command needs of them it says itself, by its exit code."""
    try:
        start_checks.open_services(settings)
        start_checks.check(Kind.COMMAND)
    except SettingsError as error:
        raise CommandError(str(error), ExitCode.FAILED) from None


def close_services() -> None:
    """Closes every connection, so that the process ends with its work."""
    current = extensions.get()
    current.chain.close()
    current.kms.close()
    current.redis.close()
    current.database.close()


as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."
)


def show(title: str, values: object, *, as_json: bool) -> None:
    """Prints names and values: a table for people, one JSON object for programs."""
    rows = _as_mapping(values)
    if as_json:
        click.echo(json.dumps(rows, default=str))
        return
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column()
    # Folded, never cut: people copy txids from here.
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name.replace("_", " "), _text(value))
    Console().print(table)


def show_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table with a head, for people; nothing where there are no rows."""
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    Console().print(table)


@contextmanager
def progress(*, as_json: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on stderr while the body works; gives what reports step, done and total to it.

    `total` is None while nobody knows it. Nothing is shown to programs and files.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    is_hidden = as_json or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=is_hidden) as bar:
        task = bar.add_task("", total=None)

        def report(step: str, done: int, total: int | None) -> None:
            bar.update(task, description=step, completed=done, total=total)

        yield report


def _as_mapping(values: object) -> Mapping[str, Any]:
    if is_dataclass(values) and not isinstance(values, type):
        return asdict(values)
    if isinstance(values, Mapping):
        return values
    raise TypeError("show() takes a dataclass or a mapping")


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
