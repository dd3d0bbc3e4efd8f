"""Dumps the database into a file and restores it: what comes back is held until it was compared.

A restored database is older than the chain: outputs that it takes for free may be spent, records
that it has waiting anchored. So none is due and none is free until `chain_repair` has looked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from bson.raw_bson import RawBSONDocument

from app import extensions
from app.domain.clock import utc_now
from app.errors import ConflictError
from app.models import copying
from app.models.setting import RESTORED, Setting
from app.services import dump_files, maintenance, migrating
from app.services.dump_files import DumpManifest
from app.services.reshaping import OnProgress, unwatched

logger = logging.getLogger(__name__)

_BATCH = 1000


@dataclass(frozen=True)
class DumpReport:
    """What was written. `changed_meanwhile` counts rows that were changed while it was; 0 in one
    of a single moment."""

    path: str
    bytes: int
    manifest: DumpManifest
    changed_meanwhile: int


def dump(
    path: Path, *, needs_snapshot: bool = False, on_progress: OnProgress = unwatched
) -> DumpReport:
    """Writes the whole database into a new file, all of one moment where the server can do that.

    Raises:
        InvalidInputError: it can't be written there.
        ConflictError: `needs_snapshot`, and the server gives none.
    """
    database = _database()
    settings = extensions.get().settings
    begun_at = utc_now()
    with dump_files.create(path) as writer, copying.snapshot(database) as session:
        if needs_snapshot and session is None:
            raise ConflictError(
                "this server can't read all of it at one moment: that takes a replica set"
            )
        names = copying.list_names(database)
        writer.begin(
            created_at=begun_at,
            database=settings.db_name,
            release=settings.deploy_sha,
            is_snapshot=session is not None,
            collections=names,
        )
        for name in names:
            _dump(database, name, session, writer, on_progress)
        manifest = writer.end()
    changed = 0 if session else copying.count_changed_since(begun_at, manifest.rows, database)
    logger.info("dump written", extra={"event": "backup.dumped", "rows": dict(manifest.rows)})
    return DumpReport(str(path), path.stat().st_size, manifest, changed)


def _dump(
    database: Any, name: str, session: Any, writer: dump_files.DumpWriter, on_progress: OnProgress
) -> None:
    total = database[name].estimated_document_count()
    for done, row in enumerate(copying.stream(database, name, session)):
        if done % _BATCH == 0:
            on_progress(name, done, total)
        writer.put(name, row)


def restore(
    path: Path, *, drops: bool = False, on_progress: OnProgress = unwatched
) -> DumpManifest:
    """Puts a dump into the database, which must be empty, or is emptied with `drops`.

    Raises:
        InvalidInputError: the file is no whole dump; nothing was changed.
        ConflictError: the database is not empty; nothing was changed.
        LockHeldError, LockLostError, UnavailableError: somebody else is at it, or Redis is away.
    """
    on_progress("verify", 0, None)
    manifest = dump_files.verify(path)
    database = _database()
    with maintenance.exclusive(migrating.LOCK) as guard, maintenance.exclusive():
        if not drops and (filled := copying.list_filled(database)):
            raise ConflictError(
                f"the database {database.name} is not empty ({', '.join(filled)}); a dump goes "
                "into an empty one, or with --drop into one that is emptied for it"
            )
        copying.drop_all(database)
        # First of all: whatever happens on the way, nobody starts with what came to be of it.
        Setting.put(RESTORED, utc_now())
        done, total = 0, sum(manifest.rows.values())
        for name, rows in _batches(path):
            guard.check()
            copying.insert(database, name, rows)
            done += len(rows)
            on_progress("restore", done, total)
        copying.hold_back()
        extensions.ensure_indexes()
    logger.warning("dump restored", extra={"event": "backup.restored", "database": database.name})
    return manifest


def hold() -> None:
    """Holds back all that waits, for a database that another tool has restored.

    Raises:
        LockHeldError, UnavailableError: somebody maintains the pool, or Redis is away.
    """
    with maintenance.exclusive():
        Setting.put(RESTORED, utc_now())
        copying.hold_back()
    logger.warning("database held back", extra={"event": "backup.held"})


def _batches(path: Path) -> Iterator[tuple[str, list[RawBSONDocument]]]:
    for name, group in groupby(dump_files.read(path), key=lambda item: item[0]):
        while batch := [row for _, row in islice(group, _BATCH)]:
            yield name, batch


def _database() -> Any:
    current = extensions.get()
    return current.database[current.settings.db_name]
