"""`manage.py db`: the database's indexes."""

from __future__ import annotations

import click
from pymongo.errors import OperationFailure

from app import extensions, logs
from app.commands._console import CommandError, ExitCode, as_json_option, show, with_services

# IndexOptionsConflict and IndexKeySpecsConflict.
_CONFLICTS = frozenset({85, 86})


@click.group()
def db() -> None:
    """Indexes of the database."""


@db.command()
@click.option("--check", is_flag=True, help="Only say what is missing; build nothing.")
@as_json_option
@with_services
def indexes(*, check: bool, as_json: bool) -> None:
    """Build the indexes that the documents need; never drop one.

    Outputs from before there were lots get theirs too.
    Run it before the first start and after each upgrade: without the unique indexes nothing keeps
    two registrations of one patch apart. Exit code 1 with --check when some are missing.
    """
    if check:
        missing = extensions.missing_indexes()
        show("Missing indexes", {"missing": missing}, as_json=as_json)
        raise SystemExit(int(ExitCode.FAILED if missing else ExitCode.DONE))
    try:
        collections = extensions.ensure_indexes()
    except OperationFailure as error:
        if error.code not in _CONFLICTS:
            raise
        raise CommandError(_explain(error), ExitCode.REFUSED) from error
    show("Indexes", {"collections": collections}, as_json=as_json)


def _explain(conflict: OperationFailure) -> str:
    missing = "; ".join(extensions.missing_indexes())
    return (
        "the database has an index of the same name or fields with another definition, from an "
        f"older version or made by hand. It says: {logs.strip_credentials(str(conflict))}. "
        f"Not built yet: {missing}. Drop the old one with db.COLLECTION.dropIndex(NAME) and run "
        "this again before anything is started: nothing else was changed"
    )
