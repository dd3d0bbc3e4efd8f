"""`manage.py db`: changes of the database, its indexes and its dumps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click
from pymongo.errors import OperationFailure

from app import extensions, logs
from app.commands import _db_views
from app.commands._console import (
    CommandError,
    ExitCode,
    as_json_option,
    progress,
    show,
    with_services,
)
from app.services import backups, chain_repair, migrating, older_import
from app.services.chain_repair import Repair
from app.services.migrating import MigrationReport

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
        _db_views.print_status(now)
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
        _db_views.print_indexes(found)
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


@db.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--snapshot", is_flag=True, help="Refuse where the server can't read all of it at one moment."
)
@as_json_option
@with_services
def dump(file: Path, *, snapshot: bool, as_json: bool) -> None:
    """Write the whole database into a new FILE, compressed, with a checksum, for you alone to read.

    Beside the running service. A replica set gives all of it as it was at one moment; else what
    changes meanwhile may be in it by half, which `db compare --repair` mends after restoring.
    """
    with progress(as_json=as_json) as report:
        made = backups.dump(file, needs_snapshot=snapshot, on_progress=report)
    values = asdict(made.manifest)
    rows = values.pop("rows")
    values |= {"file": made.path, "bytes": made.bytes, "changed_meanwhile": made.changed_meanwhile}
    show("Dumped", {**values, "rows": rows if as_json else sum(rows.values())}, as_json=as_json)


@db.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--drop", is_flag=True, help="Delete everything that is in the database before.")
@click.option("--yes", is_flag=True, help="Don't ask whether to delete it.")
@as_json_option
@with_services
def restore(file: Path, *, drop: bool, yes: bool, as_json: bool) -> None:
    """Put a dump into the empty database that the settings name.

    Stop web, workers and beat before. The whole file is checked before anything is changed.
    Nothing of what is restored is taken up until `db compare --repair` has asked the chain what
    has happened since.
    """
    if drop and not yes:
        name = extensions.get().settings.db_name
        typed = click.prompt(
            f"This deletes the database. Type its name, {name}, to go on", err=True
        )
        if typed != name:
            raise CommandError("that is another name: nothing was changed", ExitCode.REFUSED)
    with progress(as_json=as_json) as report:
        restored = backups.restore(file, drops=drop, on_progress=report)
    rows = dict(restored.rows)
    values = {
        "created_at": restored.created_at,
        "release": restored.release,
        "is_snapshot": restored.is_snapshot,
        "rows": rows if as_json else sum(rows.values()),
        "next": "manage.py db migrate, then manage.py db compare --repair",
    }
    show("Restored", values, as_json=as_json)


@db.command()
@as_json_option
@with_services
def hold(*, as_json: bool) -> None:
    """After another tool, as mongorestore, has restored: take nothing up before `db compare`.

    Stop web, workers and beat before. Outputs wait for a sync, and nothing that waits is due.
    """
    backups.hold()
    show(
        "Held",
        {"next": "manage.py db migrate, then manage.py db compare --repair"},
        as_json=as_json,
    )


@db.command()
@click.option(
    "--repair", "repairs", is_flag=True, help="Take over what the chain shows, and sync the pool."
)
@click.option(
    "--accept-uncertain",
    is_flag=True,
    help="With --repair: let go also of registrations that an unknown batch may carry.",
)
@as_json_option
@with_services
def compare(*, repairs: bool, accept_uncertain: bool, as_json: bool) -> None:
    """Compare what is stored with the chain: transactions, pool, heads, what only the chain has.

    With --repair, which a restored database needs: what happened after its dump is taken over where
    the chain shows it, and what was held back is let go. Exit code 1 while something differs.
    """
    with progress(as_json=as_json) as report:
        if repairs:
            done = chain_repair.repair(accepts_uncertain=accept_uncertain, on_progress=report)
            found, now, is_good = done.found, done.invariants, done.is_clean
        else:
            done, found = None, chain_repair.compare(on_progress=report)
            now, is_good = found.invariants, found.is_clean
    repaired = {} if done is None else _without_found(done)
    if as_json:
        values = {"ok": is_good, **asdict(found), **repaired, "invariants": asdict(now)}
        show("Comparison", values, as_json=True)
    else:
        _db_views.print_comparison(found, repaired, now)
    raise SystemExit(int(ExitCode.DONE if is_good else ExitCode.FAILED))


def _without_found(done: Repair) -> dict[str, Any]:
    return {name: value for name, value in asdict(done).items() if name != "found"}


def _read_collections(
    _: click.Context, __: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if any(kind not in older_import.KINDS or not name for kind, _, name in pairs):
        raise click.BadParameter(f"is KIND=NAME, with a kind of {', '.join(older_import.KINDS)}")
    return {kind: name for kind, _, name in pairs}


@db.command("import-older")
@click.option(
    "--from",
    "uri",
    required=True,
    envvar="OLDER_MONGODB_URI",
    help="The older database; better in the environment, as OLDER_MONGODB_URI, with its password.",
)
@click.option("--database", help="Its name, where the URI does not end with it.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(older_import.KINDS)),
    help="Import only this; may be given several times. [default: all]",
)
@click.option(
    "--collection",
    "named",
    multiple=True,
    callback=_read_collections,
    help="KIND=NAME, where a collection is not named as usual.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be done; write nothing.")
@as_json_option
@with_services
def import_older(
    *,
    uri: str,
    database: str | None,
    only: tuple[str, ...],
    named: dict[str, str],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import the database of the older system: records, pool, login keys and settings.

    Stop the older system before: both would spend the same outputs. Its database is read and never
    written. A record is confirmed only where the chain shows it and its signatures hold; every row
    that is not taken is told with the reason. Repeating it goes on where it ended. Exit code 1
    while rows are refused or wait. docs/operations/migrations.md has the rules.
    """
    with progress(as_json=as_json) as report:
        done = older_import.run(
            uri,
            database,
            only=frozenset(only or older_import.KINDS),
            named=named,
            is_dry_run=dry_run,
            on_progress=report,
        )
    if as_json:
        show("Import", {"ok": done.is_whole, **asdict(done)}, as_json=True)
    else:
        _db_views.print_import(done)
    raise SystemExit(int(ExitCode.DONE if done.is_whole else ExitCode.FAILED))
