"""`manage.py db`: the database's indexes."""

from __future__ import annotations

import click

from app import extensions
from app.commands._console import ExitCode, as_json_option, show, with_services


@click.group()
def db() -> None:
    """Indexes of the database."""


@db.command()
@click.option("--check", is_flag=True, help="Only say what is missing; build nothing.")
@as_json_option
@with_services
def indexes(*, check: bool, as_json: bool) -> None:
    """Build the indexes that the documents need; never drop one.

    Run it before the first start and after each upgrade: without the unique indexes nothing keeps
    two registrations of one patch apart. Exit code 1 with --check when some are missing.
    """
    if check:
        missing = extensions.missing_indexes()
        show("Missing indexes", {"missing": missing}, as_json=as_json)
        raise SystemExit(int(ExitCode.FAILED if missing else ExitCode.DONE))
    show("Indexes", {"collections": extensions.ensure_indexes()}, as_json=as_json)
