"""`manage.py db`: changes of the database, its indexes and its dumps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

import click
from pymongo.errors import OperationFailure

from app import extensions, logs
from app.commands._console import (
    CommandError,
    ExitCode,
    as_json_option,
    progress,
    show,
    show_rows,
    with_services,
)
from app.models.indexes import IndexComparison
from app.services import migrating
from app.services.migrating import MigrationReport, MigrationStatus

R = TypeVar("R")

# IndexOptionsConflict and IndexKeySpecsConflict.
_CONFLICTS = frozenset({85, 86})


HELP = """Changes of the database, its indexes and its dumps.

Deployments run `db migrate`; every start asks what `db status` tells.

\b
Exit codes:
  0  done, or nothing is wrong
  1  something is to be done or wrong: what is told says what
  3  another process does the same
  4  the database, Redis or the chain service are away
  5  refused, with the reason
"""


@click.group(help=HELP)
def db() -> None:
    """Hold the commands together."""


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
    collections = _naming_conflicts(extensions.ensure_indexes)
    show("Indexes", {"collections": collections}, as_json=as_json)


def _explain(conflict: OperationFailure) -> str:
    missing = "; ".join(extensions.missing_indexes())
    return (
        "the database has an index of the same name or fields with another definition, from an "
        f"older version or made by hand. It says: {logs.strip_credentials(str(conflict))}. "
        f"Not built yet: {missing}. Drop the old one with db.COLLECTION.dropIndex(NAME) and run "
        "this again before anything is started: nothing else was changed"
    )


@db.command()
@click.option("--dry-run", is_flag=True, help="Show what would be made; write nothing.")
@as_json_option
@with_services
def migrate(*, dry_run: bool, as_json: bool) -> None:
    """Make the changes that this release needs, then build the indexes that are missing.

    One process at a time on all hosts; repeating it changes nothing. The release before can work
    with what is made here, so it may go on running meanwhile.
    """
    if dry_run:
        show("Would be made", _as_lists(migrating.plan()), as_json=as_json)
        return
    with progress(as_json=as_json) as report:
        made = _naming_conflicts(lambda: migrating.migrate(on_progress=report))
    show("Made", _as_lists(made), as_json=as_json)


@db.command()
@as_json_option
@with_services
def status(*, as_json: bool) -> None:
    """Tell whether this release can work with the database: migrations, indexes, a restored dump.

    Exit code 1 where it can't. Reads only.
    """
    now = migrating.status()
    values = {"ready": now.is_ready, **asdict(now)}
    if as_json:
        show("Database", values, as_json=True)
    else:
        _print_status(now)
    raise SystemExit(int(ExitCode.DONE if now.is_ready else ExitCode.FAILED))


@db.command("check-indexes")
@as_json_option
@with_services
def check_indexes(*, as_json: bool) -> None:
    """Compare the indexes that this release names with those that the database has. Reads only.

    Exit code 1 where one is missing or has other options. Extra ones are told and no harm; nothing
    here ever drops one.
    """
    found = migrating.compare_indexes()
    if as_json:
        show("Indexes", {"ok": found.is_whole, **asdict(found)}, as_json=True)
    else:
        _print_indexes(found)
    raise SystemExit(int(ExitCode.DONE if found.is_whole else ExitCode.FAILED))


def _naming_conflicts(build: Callable[[], R]) -> R:
    try:
        return build()
    except OperationFailure as error:
        if error.code not in _CONFLICTS:
            raise
        raise CommandError(_explain(error), ExitCode.REFUSED) from error


def _as_lists(report: MigrationReport) -> dict[str, list[str]]:
    return {"migrations": list(report.migrations), "indexes": list(report.indexes)}


def _print_status(now: MigrationStatus) -> None:
    rows = [(name, "applied") for name in now.applied if name not in (*now.changed, *now.unknown)]
    rows += [(name, "applied; its file has changed since") for name in now.changed]
    rows += [(name, "applied by another release, unknown to this one") for name in now.unknown]
    rows += [(name, _pending(name, now)) for name in now.pending]
    show_rows("Migrations", ("migration", "state"), sorted(rows))
    _print_indexes(now.indexes)
    if now.awaits_comparison_since is not None:
        click.echo(
            f"The database came out of a dump at {now.awaits_comparison_since.isoformat()} and was "
            "not compared with the chain yet: run `manage.py db compare`"
        )


def _pending(name: str, now: MigrationStatus) -> str:
    failure = now.failed.get(name)
    return "pending" if failure is None else f"pending; its last run failed: {failure}"


def _print_indexes(found: IndexComparison) -> None:
    rows = [(text, "missing") for text in found.missing]
    rows += [(text, "different") for text in found.different]
    rows += [(text, "extra, left alone") for text in found.extra]
    show_rows("Indexes", ("index", "state"), rows)
    if not rows:
        click.echo("All indexes are there.")
