"""What every command shares: services made ready, answers for people and for programs."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from enum import IntEnum
from typing import Any, ParamSpec, TypeVar

import click
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.table import Table

from app import extensions, logs
from app.clients.outcomes import ClientError
from app.config import SettingsError, load_settings
from app.errors import PatchProofError, UnavailableError

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
    """Reads the settings and makes the services ready; maps their errors to exit codes."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            settings = load_settings()
        except SettingsError as error:
            raise CommandError(str(error), ExitCode.FAILED) from None
        logs.configure("warning", service="manage", release=settings.deploy_sha)
        extensions.init(settings)
        try:
            return command(*args, **kwargs)
        except (ClientError, UnavailableError) as error:
            raise CommandError(str(error), ExitCode.SERVICE_AWAY) from error
        except PyMongoError as error:
            text = logs.strip_credentials(str(error)).split(", Timeout")[0]
            raise CommandError(f"the database: {text}", ExitCode.SERVICE_AWAY) from error
        except PatchProofError as error:
            raise CommandError(error.message, ExitCode.REFUSED) from error

    return wrapper


as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."
)


def show(title: str, values: object, *, as_json: bool) -> None:
    """Prints names and values: a table for people, one JSON object for programs."""
    rows: Mapping[str, Any]
    if is_dataclass(values) and not isinstance(values, type):
        rows = asdict(values)
    elif isinstance(values, Mapping):
        rows = values
    else:
        raise TypeError("show() takes a dataclass or a mapping")
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column()
    # Folded, never cut: people copy txids from here.
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table)
