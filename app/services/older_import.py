"""Imports the database of an older system, which is read and stays as it is.

It can be repeated and goes on where it was interrupted: rows keep their ids, and what is there is
passed over. Each row is understood as a whole or told with the reason. None is taken on its word
where the chain can be asked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from app import extensions
from app.clients.older_database import InvalidSourceError, OlderDatabase
from app.errors import ConflictError, InvalidInputError
from app.services import pool_sync
from app.services.maintenance import exclusive
from app.services.older_holdings import HoldingsImport
from app.services.older_patches import PatchImport
from app.services.older_report import ImportReport
from app.services.reshaping import OnProgress, unwatched

logger = logging.getLogger(__name__)

LOCK = "import"
# How an ODM of the older system's kind names the collections of its models.
KINDS: Mapping[str, tuple[str, ...]] = {
    "records": ("authenticationrecords", "authentication_records"),
    "heads": ("patchstates", "patch_states"),
    "pool": ("utxos",),
    "login_keys": ("svdregistries", "svdregistry", "svd_registry", "svdusers", "users"),
    "settings": ("settings",),
}


@dataclass(frozen=True)
class ImportPlan:
    """What is imported from which collection: kind -> name."""

    collections: Mapping[str, str]
    left_out: Mapping[str, int]
    rows: Mapping[str, int]


def run(
    uri: str,
    name: str | None = None,
    *,
    only: frozenset[str] = frozenset(KINDS),
    named: Mapping[str, str] | None = None,
    is_dry_run: bool = False,
    on_progress: OnProgress = unwatched,
) -> ImportReport:
    """Imports what is asked for; `named` says where a kind is, in place of the usual names.

    Raises:
        InvalidInputError: the URI, or a collection, is none.
        ConflictError: the source is the very database that would be written.
        ServiceUnavailableError: the source or the chain is away; run it again.
        LockHeldError, LockLostError, UnavailableError: somebody else imports, or Redis is away.
    """
    report = ImportReport(is_dry_run=is_dry_run)
    timeout_ms = extensions.get().settings.db_server_selection_timeout_ms
    try:
        source = OlderDatabase(uri, name, timeout_ms=timeout_ms)
    except InvalidSourceError as error:
        raise InvalidInputError.for_field("--from", str(error)) from error
    with source, exclusive(LOCK) as guard:
        plan = _plan(source, only, named or {})
        report.left_out.update(plan.left_out)
        for kind, collection in plan.collections.items():
            on_progress(collection, 0, plan.rows[collection])
            if kind == "records":
                importing = PatchImport(collection, report, guard.check)
                importing.run(source, plan.rows[collection], on_progress)
            else:
                holdings = HoldingsImport(collection, report, guard.check)
                holdings.run(kind, source.stream(collection))
    if not is_dry_run and "pool" in plan.collections:
        on_progress("sync the pool", 0, None)
        pool_sync.sync(on_progress=on_progress)
    logger.warning(
        "older database imported",
        extra={"event": "import.done", "counts": {k: dict(v) for k, v in report.counts.items()}},
    )
    return report


def _plan(source: OlderDatabase, only: frozenset[str], named: Mapping[str, str]) -> ImportPlan:
    rows = source.count_rows()
    _check_not_ours(source, rows)
    collections = {}
    for kind, usual in KINDS.items():
        candidates = (named[kind],) if kind in named else usual
        found = next((each for each in candidates if each in rows), None)
        if kind in named and found is None:
            raise InvalidInputError.for_field(
                "--collection", f"{source.name} has no collection {named[kind]}"
            )
        if kind in only and found is not None:
            collections[kind] = found
    if not collections:
        raise InvalidInputError.for_field(
            "--from", f"{source.name} has none of the collections that are imported"
        )
    left_out = {each: count for each, count in rows.items() if each not in collections.values()}
    return ImportPlan(collections, left_out, rows)


def _check_not_ours(source: OlderDatabase, rows: Mapping[str, int]) -> None:
    """Ours has its record of migrations; nobody imports a database into itself."""
    if "migrations" in rows or "transactions" in rows:
        raise ConflictError(f"{source.name} is a database of this system, not of the older one")
