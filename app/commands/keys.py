"""`manage.py keys`: credentials for people who develop against the API."""

from __future__ import annotations

import click

from app import extensions
from app.commands._console import (
    CommandError,
    ExitCode,
    as_json_option,
    show,
    with_services,
)
from app.services import tokens


@click.group()
def keys() -> None:
    """Credentials."""


@keys.command()
@click.option("--user", required=True, help="The token's subject.")
@click.option(
    "--ttl",
    "ttl_seconds",
    type=click.IntRange(1, 86400),
    default=900,
    show_default=True,
    help="Seconds until it expires.",
)
@as_json_option
@with_services
def token(*, user: str, ttl_seconds: int, as_json: bool) -> None:
    """Issue a JWT for development, as a login would.

    Refused in production (exit code 5): there, people log in.

    \b
    Example:
      curl -H "Authorization: Bearer $(manage.py keys token --user me)" ...
    """
    if extensions.get().settings.is_production:
        raise CommandError(
            "tokens are issued by login in production; set APP_ENV=development on a devnet",
            ExitCode.REFUSED,
        )
    issued = tokens.issue(user, ttl_seconds=ttl_seconds)
    if as_json:
        show("Token", {"token": issued, "expires_in": ttl_seconds}, as_json=True)
    else:
        click.echo(issued)
