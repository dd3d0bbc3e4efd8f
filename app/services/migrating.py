"""Makes dated changes of the database, in order, one process at a time on all hosts.

A migration is recorded when it is whole and not before, so one that was interrupted is made again
from its beginning: each must bear that. Indexes are built behind the migrations, since one of those
may have to make room for a unique one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pymongo.errors import ConnectionFailure

from app import extensions, logs
from app.domain.clock import utc_now
from app.errors import ConflictError, InconsistentStateError, LockLostError
from app.models import indexes
from app.models.indexes import IndexComparison
from app.models.migration import AppliedMigration, MigrationRun
from app.models.setting import RESTORED, Setting
from app.services.maintenance import Guard, exclusive
from app.services.reshaping import OnProgress, unwatched

logger = logging.getLogger(__name__)

DIRECTORY = Path(__file__).resolve().parents[2] / "migrations"
LOCK = "migrations"
_NAME = re.compile(r"\d{8}_[a-z0-9]+(_[a-z0-9]+)*")
_MAX_LOG_LINES = 1000
_MAX_ERROR = 1000


class MigrationFailedError(ConflictError):
    """A migration ended with an error. Those before it are made, it and those behind it are not."""


@dataclass(frozen=True)
class Migration:
    """A file of migrations; `up(database, log)` makes the change and can be repeated."""

    name: str
    summary: str
    checksum: str
    up: Callable[[Any, MigrationLog], None]


@dataclass(frozen=True)
class MigrationStatus:
    """Migrations by name, in their order.

    `changed` are applied ones whose file is another than then. `unknown` ones were applied by
    another release, newer or of another branch: its changes are made to be read by this one.
    `failed` says of pending ones what the last run said.
    """

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    changed: tuple[str, ...]
    unknown: tuple[str, ...]
    failed: Mapping[str, str]
    indexes: IndexComparison
    awaits_comparison_since: datetime | None

    @property
    def is_ready(self) -> bool:
        """Whether this release can work with the database as it is."""
        return not self.pending and self.indexes.is_whole and self.awaits_comparison_since is None


@dataclass(frozen=True)
class MigrationReport:
    """What was made, or with a dry run what would be."""

    migrations: tuple[str, ...]
    indexes: tuple[str, ...]


class MigrationLog:
    """What a migration tells while it runs; it stops with an error once the lock is lost.

    So whoever calls it before each batch of writes never works beside another process.
    """

    def __init__(self, name: str, guard: Guard, on_progress: OnProgress) -> None:
        self.lines: list[str] = []
        self._name = name
        self._guard = guard
        self._on_progress = on_progress

    def __call__(self, line: str) -> None:
        """Keeps a line with the migration, and says it in the log.

        Raises:
            LockLostError: another process may be migrating by now.
        """
        self._guard.check()
        if len(self.lines) < _MAX_LOG_LINES:
            self.lines.append(line)
        logger.info(
            "migration: %s", line, extra={"event": "migration.log", "migration": self._name}
        )

    def progress(self, done: int, total: int | None) -> None:
        """Tells how far it is, before each batch of writes.

        Raises:
            LockLostError: as above.
        """
        self._guard.check()
        self._on_progress(self._name, done, total)


def status(directory: Path = DIRECTORY) -> MigrationStatus:
    """Compares the files of this release with what the database has seen. Reads only."""
    files = {each.name: each for each in list_files(directory)}
    known = {each.name: each for each in AppliedMigration.list_all()}
    applied = [name for name, each in known.items() if each.ended_at is not None]
    pending = [name for name in files if name not in applied]
    return MigrationStatus(
        applied=tuple(applied),
        pending=tuple(pending),
        changed=tuple(n for n in applied if n in files and files[n].checksum != known[n].checksum),
        unknown=tuple(name for name in applied if name not in files),
        failed={
            name: str(known[name].failures[-1].get("error"))
            for name in pending
            if name in known and known[name].failures
        },
        indexes=compare_indexes(),
        awaits_comparison_since=find_restored_at(),
    )


def find_restored_at() -> datetime | None:
    """When a dump was restored that was not compared with the chain since; None where none was."""
    restored_at: datetime | None = Setting.find_value(RESTORED)
    return restored_at


def compare_indexes() -> IndexComparison:
    """Compares the indexes of this release's documents with the database's. Reads only."""
    return indexes.compare(extensions.DOCUMENTS)


def plan(directory: Path = DIRECTORY) -> MigrationReport:
    """Tells what `migrate` would do; changes nothing."""
    now = status(directory)
    return MigrationReport(now.pending, now.indexes.missing)


def migrate(directory: Path = DIRECTORY, *, on_progress: OnProgress = unwatched) -> MigrationReport:
    """Makes every migration that is to be made, oldest first, then the indexes that are missing.

    Raises:
        LockHeldError, LockLostError: somebody else migrates; nothing was begun, or no more is.
        MigrationFailedError: one did not end well.
        UnavailableError: Redis gives no lock.
    """
    with exclusive(LOCK) as guard:
        pending = status(directory).pending
        files = {each.name: each for each in list_files(directory)}
        for name in pending:
            _make(files[name], guard, on_progress)
        guard.check()
        missing = compare_indexes().missing
        on_progress("indexes", 0, len(missing))
        extensions.ensure_indexes()
    return MigrationReport(pending, missing)


def list_files(directory: Path) -> list[Migration]:
    """Reads the migrations of a directory in their order; names that begin with _ are none.

    Raises:
        InconsistentStateError: a file is named, or written, as no migration is.
    """
    paths = sorted(path for path in directory.glob("*.py") if not path.name.startswith("_"))
    return [_read(path) for path in paths]


def _read(path: Path) -> Migration:
    name = path.stem
    if _NAME.fullmatch(name) is None or not _is_date(name[:8]):
        raise InconsistentStateError(
            f"migrations/{path.name} is not named as a migration: YYYYMMDD_what_it_does.py"
        )
    spec = importlib.util.spec_from_file_location(f"migrations.{name}", path)
    if spec is None or spec.loader is None:
        raise InconsistentStateError(f"migrations/{path.name} can't be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    up = getattr(module, "up", None)
    if not module.__doc__ or not callable(up):
        raise InconsistentStateError(
            f"migrations/{path.name} needs a docstring that says why, and up(database, log)"
        )
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    return Migration(name, module.__doc__.splitlines()[0], checksum, up)


def _is_date(digits: str) -> bool:
    try:
        datetime.strptime(digits, "%Y%m%d")  # noqa: DTZ007 - a day, which has no zone
    except ValueError:
        return False
    return True


def _make(migration: Migration, guard: Guard, on_progress: OnProgress) -> None:
    log = MigrationLog(migration.name, guard, on_progress)
    started_at = utc_now()
    current = extensions.get()
    try:
        log.progress(0, None)
        migration.up(current.database[current.settings.db_name], log)
        guard.check()
    except (LockLostError, ConnectionFailure):
        # Nothing is wrong with the migration: the next run makes it.
        raise
    except Exception as error:
        text = logs.strip_credentials(f"{type(error).__name__}: {error}")[:_MAX_ERROR]
        AppliedMigration.put_failure(_run(migration, log, started_at), text)
        raise MigrationFailedError(
            f"{migration.name} has failed: {text}. It was not recorded as made; mend the cause and "
            "run this again: what it has done already it does once more without harm"
        ) from error
    AppliedMigration.put(_run(migration, log, started_at))
    logger.info("migration made", extra={"event": "migration.made", "migration": migration.name})


def _run(migration: Migration, log: MigrationLog, started_at: datetime) -> MigrationRun:
    return MigrationRun(
        name=migration.name,
        checksum=migration.checksum,
        started_at=started_at,
        ended_at=utc_now(),
        release=extensions.get().settings.deploy_sha,
        host=socket.gethostname(),
        log=log.lines,
    )
