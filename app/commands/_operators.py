"""Who runs a command, for the histories that name who did what."""

from __future__ import annotations

import getpass
import os

import click

from app.commands._console import CommandError, ExitCode


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container there may be nobody of this number.
        return f"uid {os.getuid()}"


by_option = click.option(
    "--by",
    "operator",
    default=_account,
    show_default="the account that runs this",
    help="Who does this; stands in the history.",
)


def name_operator(operator: str) -> str:
    """The operator as histories name them.

    Raises:
        CommandError: it names nobody.
    """
    if not operator.strip() or not operator.isprintable():
        raise CommandError("--by must name somebody", ExitCode.REFUSED)
    return f"operator {operator.strip()}"
