"""`manage.py db migrate`, `status` and `check-indexes`: changes of the database, whole or again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from app import extensions
from app.errors import InconsistentStateError, LockHeldError, LockLostError
from app.models.setting import RESTORED, Setting
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import maintenance, migrating
from tests.integration.commands.conftest import Manage
from tests.integration.pool.world import World

FORMER = "20261124_unset_former_fields"
LOTS = "status_1_key_identifier_1_lot_1"
# Notes each run, and does what the test has put into the environment of the file.
CODE = '''"""Counts its runs."""


def up(database, log):
    database["settings"].update_one({{"key": "{key}"}}, {{"$inc": {{"value": 1}}}}, upsert=True)
    log("counted")
    {more}
'''


class Files:
    """Migrations of a test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, more: str = "pass", key: str = "RUNS") -> Path:
        path = self.directory / f"{name}.py"
        path.write_text(CODE.format(key=key, more=more))
        return path

    def migrate(self) -> tuple[str, ...]:
        return migrating.migrate(self.directory).migrations

    def status(self) -> migrating.MigrationStatus:
        return migrating.status(self.directory)

    @staticmethod
    def runs(key: str = "RUNS") -> Any:
        return Setting.find_value(key)


@pytest.fixture
def files(world: World, tmp_path: Path) -> Files:
    return Files(tmp_path)


def count(**condition: Any) -> int:
    return int(ChainTransaction._get_collection().count_documents(condition))


@pytest.fixture
def former_rows(world: World) -> Iterator[None]:
    """More transactions of an older release than one batch takes."""
    ChainTransaction._get_collection().insert_many(
        [
            {"txid": f"{n:064x}", "satoshis_per_kilobyte": 50, "is_underpaid": n % 2 == 0}
            for n in range(1500)
        ]
    )
    yield
    ChainTransaction._get_collection().delete_many({})


@pytest.mark.usefixtures("former_rows")
def test_fields_of_former_releases_are_taken_out_in_batches(manage: Manage) -> None:
    before = manage("db", "status", "--json")
    planned = manage("db", "migrate", "--dry-run", "--json")
    untouched = count(satoshis_per_kilobyte={"$exists": True})
    made = manage("db", "migrate", "--json")

    assert (before.code, before.json["ready"], before.json["pending"]) == (1, False, [FORMER])
    assert planned.json == {"migrations": [FORMER], "indexes": []}
    assert untouched == 1500
    assert made.json["migrations"] == [FORMER]
    assert count(satoshis_per_kilobyte={"$exists": True}) == 0
    assert count(is_underpaid={"$exists": True}) == 0
    assert count() == 1500
    assert manage("db", "migrate", "--json").json["migrations"] == []
    after = manage("db", "status", "--json")
    assert (after.code, after.json["applied"], after.json["pending"]) == (0, [FORMER], [])


def test_each_run_is_recorded_with_its_log_and_release(manage: Manage, world: World) -> None:
    world.configure(DEPLOY_SHA="release-7")
    manage("db", "migrate")

    rows = list(extensions.get().database[world.settings.db_name]["migrations"].find())

    assert [(row["_id"], row["release"]) for row in rows] == [(FORMER, "release-7")]
    assert rows[0]["started_at"] <= rows[0]["ended_at"]
    assert rows[0]["log"] == [
        "satoshis_per_kilobyte: taken out of 0 transactions",
        "is_underpaid: taken out of 0 transactions",
    ]


def test_they_run_once_each_in_the_order_of_their_dates(files: Files) -> None:
    files.write("20270102_second", key="SECOND")
    files.write("20270101_first", key="FIRST")
    (files.directory / "_shared.py").write_text("raise RuntimeError\n")

    assert files.migrate() == ("20270101_first", "20270102_second")
    assert files.migrate() == ()
    assert (files.runs("FIRST"), files.runs("SECOND")) == (1, 1)


def test_d8_one_that_fails_in_the_middle_is_not_recorded_and_runs_again(files: Files) -> None:
    files.write("20270101_first", key="FIRST")
    broken = files.write("20270102_broken", more="raise ValueError('no such thing')")
    files.write("20270103_last", key="LAST")

    with pytest.raises(migrating.MigrationFailedError, match="20270102_broken has failed"):
        files.migrate()

    stopped = files.status()
    assert stopped.applied == ("20270101_first",)
    assert stopped.pending == ("20270102_broken", "20270103_last")
    assert stopped.failed == {"20270102_broken": "ValueError: no such thing"}
    assert not stopped.is_ready
    assert files.runs("LAST") is None
    files.write(broken.stem)
    assert files.migrate() == ("20270102_broken", "20270103_last")
    assert (files.runs("FIRST"), files.runs()) == (1, 2)
    assert files.status().failed == {}


def test_one_that_was_killed_leaves_nothing_and_runs_again(files: Files) -> None:
    """What a killed process does not do is to tell of it."""
    killed = files.write("20270101_killed", more="raise SystemExit")

    with pytest.raises(SystemExit):
        files.migrate()

    assert files.status().pending == ("20270101_killed",)
    files.write(killed.stem)
    assert files.migrate() == ("20270101_killed",)


def test_a_recorded_one_whose_file_has_changed_is_told_and_not_made_again(files: Files) -> None:
    files.write("20270101_first")
    files.migrate()
    files.write("20270101_first", more="log('more')")

    assert files.migrate() == ()
    assert files.status().changed == ("20270101_first",)
    assert files.runs() == 1


def test_one_of_a_newer_release_is_told_and_no_obstacle(files: Files) -> None:
    newer = files.write("20270101_newer")
    files.migrate()
    newer.unlink()

    now = files.status()

    assert now.unknown == ("20270101_newer",)
    assert now.is_ready


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("notes", CODE.format(key="X", more="pass")),
        ("20271301_no_such_month", CODE.format(key="X", more="pass")),
        ("20270101_without_words", "def up(database, log):\n    pass\n"),
        ("20270101_without_up", '"""Says why."""\n'),
    ],
)
def test_what_is_no_migration_is_named_before_anything_is_made(
    files: Files, name: str, code: str
) -> None:
    files.write("20260101_first")
    (files.directory / f"{name}.py").write_text(code)

    with pytest.raises(InconsistentStateError, match=name):
        files.migrate()

    assert files.runs() is None


def test_m13_two_hosts_do_not_migrate_at_once(files: Files, manage: Manage) -> None:
    files.write("20270101_first")
    with maintenance.exclusive(migrating.LOCK):
        with pytest.raises(LockHeldError):
            files.migrate()
        other = manage("db", "migrate")

    assert other.code == 3
    assert files.runs() is None


def test_m12_whoever_loses_the_lock_stops_before_the_next_write(files: Files) -> None:
    lose = "import app.extensions as e; e.get().redis.flushdb(); log('more')"
    files.write("20270101_long", more=lose)

    with pytest.raises(LockLostError):
        files.migrate()

    assert files.status().pending == ("20270101_long",)


def test_two_that_begin_together_make_each_change_once(files: Files) -> None:
    files.write("20270101_first")
    ended: list[object] = []

    def run() -> None:
        try:
            ended.append(files.migrate())
        except LockHeldError as error:
            ended.append(error)

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ended) == 2
    assert files.runs() == 1


def test_d9_missing_different_and_extra_indexes_are_told_and_none_is_dropped(
    manage: Manage,
) -> None:
    assert manage("db", "check-indexes").code == 0
    collection = Utxo._get_collection()
    collection.drop_index(LOTS)
    collection.drop_index("lock_id_1")
    collection.create_index("lock_id", name="lock_id_1")
    collection.create_index("note", name="an_operators")
    try:
        found = manage("db", "check-indexes", "--json")
        table = manage("db", "check-indexes")

        assert found.code == 1
        assert found.json == {
            "ok": False,
            "missing": ["utxos: status, key_identifier, lot (plain)"],
            "extra": ["utxos: note (plain)"],
            "different": ["utxos: lock_id, is (plain), should be (sparse)"],
        }
        assert "extra, left alone" in table.stdout
        assert "an_operators" in Utxo._get_collection().index_information()
    finally:
        collection = Utxo._get_collection()
        collection.drop_index("an_operators")
        collection.drop_index("lock_id_1")
        extensions.ensure_indexes()
    assert manage("db", "check-indexes").code == 0


def test_f33_every_collection_that_is_looked_at_exists(manage: Manage) -> None:
    manage("db", "migrate")

    found = manage("db", "check-indexes", "--json")

    assert (found.code, found.json["missing"]) == (0, [])
    existing = set(Utxo._get_db().list_collection_names())
    assert {document._get_collection_name() for document in extensions.DOCUMENTS} <= existing


def test_extra_indexes_alone_are_no_failure(manage: Manage) -> None:
    Utxo._get_collection().create_index("note", name="an_operators")

    found = manage("db", "check-indexes", "--json")

    Utxo._get_collection().drop_index("an_operators")
    assert (found.code, found.json["extra"]) == (0, ["utxos: note (plain)"])


def test_migrating_builds_what_is_missing(manage: Manage) -> None:
    Utxo._get_collection().drop_index(LOTS)

    made = manage("db", "migrate", "--json")

    assert made.json["indexes"] == ["utxos: status, key_identifier, lot (plain)"]
    assert LOTS in Utxo._get_collection().index_information()


def test_a_restored_dump_is_not_ready_until_it_was_compared(manage: Manage) -> None:
    manage("db", "migrate")
    Setting.put(RESTORED, migrating.utc_now())

    told = manage("db", "status")

    assert told.code == 1
    assert "db compare" in " ".join(told.stdout.split())


def test_f32_migrations_work_on_the_database_that_the_service_uses(
    files: Files, world: World
) -> None:
    files.write("20270101_where", more="log(database.name)")
    files.migrate()

    row = extensions.get().database[world.settings.db_name]["migrations"].find_one()

    assert row is not None
    assert row["log"] == ["counted", world.settings.db_name]
