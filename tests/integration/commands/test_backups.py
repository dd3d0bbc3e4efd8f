"""`manage.py db dump`, `restore` and `compare`: the drill, and dumps that are none."""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import ObjectId

from app import extensions
from app.domain.messages import transfer_message
from app.models import copying
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.setting import RESTORED, Setting
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import (
    anchoring,
    backups,
    batches,
    chain_repair,
    invariants,
    pool_sync,
    reaper,
    registration,
    settlement,
    start_checks,
    sweeper,
    transfers,
    verification,
)
from tests.integration.commands.conftest import Manage
from tests.integration.pool.world import World
from tests.integration.services.lab import Owner


def register(world: World, uid: str, owner: Owner | None = None) -> AuthenticationRecord:
    """Registers a patch for certain."""
    record = accept(world, uid, owner)
    anchoring.anchor([record])
    return reload(record)


def accept(world: World, uid: str, owner: Owner | None = None) -> AuthenticationRecord:
    return registration.register(
        product={"uid_tag_id": uid},
        metadata={"notes": "blue"},
        owner=(owner or Owner()).address,
    ).record


def hand_on(uid: str, head: str, owner: Owner, new_owner: Owner) -> AuthenticationRecord:
    record = transfers.transfer(
        head=head,
        new_owner=new_owner.address,
        signature_der_hex=owner.sign(transfer_message(uid, head, new_owner.address)),
        public_key_hex=owner.public_key_hex,
    ).record
    anchoring.anchor([record])
    return reload(record)


def reload(record: AuthenticationRecord) -> AuthenticationRecord:
    return AuthenticationRecord.objects(id=record.id).get()


def collection(world: World, name: str) -> Any:
    return extensions.get().database[world.settings.db_name][name]


def everything(world: World) -> dict[str, list[dict[str, Any]]]:
    database = extensions.get().database[world.settings.db_name]
    return {
        name: list(database[name].find().sort("_id", 1))
        for name in sorted(database.list_collection_names())
        if name != "verification_codes"
    }


def run_everything_due() -> None:
    """What beat and workers do."""
    reaper.reap()
    sweeper.sweep()
    anchoring.anchor_due(100)


@pytest.fixture(autouse=True)
def _patience(world: World) -> None:
    """What a slow machine does not answer at once is no difference between chain and database."""
    world.configure(WOC_TIMEOUT_MS="30000")


@pytest.fixture
def dump(manage: Manage, tmp_path: Path) -> Callable[[], Path]:
    """Dumps; each time into another file."""

    def write() -> Path:
        path = tmp_path / f"{ObjectId()}.dump"
        assert manage("db", "dump", str(path), "--json").code == 0
        return path

    return write


def restore(manage: Manage, path: Path) -> None:
    restored = manage("db", "restore", str(path), "--drop", "--yes", "--json")
    assert restored.code == 0, restored.stderr
    assert manage("db", "migrate").code == 0


def test_d8_the_drill_nothing_is_doubled_and_registering_goes_on(
    world: World, manage: Manage, dump: Callable[[], Path]
) -> None:
    """Dump, register more, lose the database, restore, compare with the chain, go on."""
    world.fill(8, 2000)
    ann, bob = Owner(), Owner()
    before = register(world, "BEFORE", ann)
    waiting = accept(world, "WAITING")
    path = dump()
    anchoring.anchor([waiting])
    anchored_as = reload(waiting).txid
    after = register(world, "AFTER")
    moved = hand_on("BEFORE", before.head, ann, bob)
    sent = set(world.chain_transactions())

    restore(manage, path)

    # Nothing of it is due and nothing is free, however long the workers run.
    run_everything_due()
    assert manage("db", "status", "--json").json["ready"] is False
    with pytest.raises(start_checks.StartError, match="db compare --repair"):
        start_checks._check_migrations()
    assert Utxo.count_available(world.key_identifier) == 0
    assert set(world.chain_transactions()) == sent
    told = manage("db", "compare", "--json")
    assert told.code == 1
    assert told.json["carried"] == {str(waiting.id): anchored_as}
    assert {(e["txid"], e["kind"], e["uid_tag_id"]) for e in told.json["lost"]} == {
        (after.txid, "REGISTRATION", None),
        (moved.txid, "TRANSFER", "BEFORE"),
    }
    assert set(world.chain_transactions()) == sent

    repaired = manage("db", "compare", "--repair", "--json")

    assert repaired.json["taken_over"] == [anchored_as]
    assert repaired.json["is_open"] is True
    assert repaired.code == 1, "two records are lost, and that is told"
    assert (reload(waiting).status, reload(waiting).txid) == ("confirmed", anchored_as)
    assert verification.verify("WAITING").status == "authentic"
    run_everything_due()
    assert set(world.chain_transactions()) == sent, "nothing was sent a second time"
    going_on = register(world, "GOING-ON")
    assert going_on.status == "confirmed"
    assert set(world.chain_transactions()) == {*sent, going_on.txid}
    again = manage("db", "compare", "--json").json
    assert again["ok"] is True, again
    assert manage("db", "status").code == 0
    assert invariants.check(pause_seconds=0).is_clean


def test_lost_transactions_that_continue_one_another_are_told_once(
    world: World, manage: Manage, dump: Callable[[], Path]
) -> None:
    world.fill(1, 4000)
    path = dump()
    first, second = register(world, "FIRST"), register(world, "SECOND")
    assert world.chain_transactions().keys() >= {first.txid, second.txid}
    restore(manage, path)

    repaired = manage("db", "compare", "--repair", "--json").json

    assert [each["txid"] for each in repaired["lost"]] == [first.txid, second.txid]
    assert repaired["is_open"] is True
    assert manage("db", "compare", "--json").json["ok"] is True


def test_a_dump_holds_everything_but_codes_and_comes_back_as_it_was(
    world: World, manage: Manage, dump: Callable[[], Path]
) -> None:
    world.fill(3, 2000)
    register(world, "NFC-1")
    odd = {"_id": "odd", "long": 2**40, "binary": b"\x00\xff", "other_release": {"a": [1, None]}}
    collection(world, "of_another_release").insert_one(odd)
    path = dump()
    kept = everything(world)

    restore(manage, path)
    chain_repair.repair()

    now = everything(world)
    changing = {"updated_at", "next_attempt_at"}
    for name in kept:
        if name not in ("settings", "migrations"):
            strip = [
                [{k: v for k, v in row.items() if k not in changing} for row in rows[name]]
                for rows in (kept, now)
            ]
            assert strip[0] == strip[1], name
    assert manage("db", "check-indexes").code == 0
    collection(world, "of_another_release").drop()


def test_d8_a_dump_of_many_moments_can_be_repaired(
    world: World, manage: Manage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a snapshot what is read later is newer: a patch is registered, and another handed
    on, before each of these is read."""
    turns = ["authentication_records", "patch_states", "utxos", "transactions"]
    world.fill(12, 2000)
    ann, bob = Owner(), Owner()
    heads = {name: register(world, f"SOLD-{name}", ann).head for name in turns}
    waiting = {name: accept(world, f"WAITING-{name}") for name in turns}
    stream = copying.stream

    def busy(database: Any, name: str, session: Any) -> Any:
        if name in turns:
            anchoring.anchor([waiting[name]])
            hand_on(f"SOLD-{name}", heads[name], ann, bob)
        return stream(database, name, session)

    path = tmp_path / "busy.dump"
    with monkeypatch.context() as patch:
        patch.setattr(copying, "stream", busy)
        assert backups.dump(path).changed_meanwhile > 0
    anchored_as = {name: reload(record).txid for name, record in waiting.items()}
    sent = set(world.chain_transactions())
    restore(manage, path)

    repaired = manage("db", "compare", "--repair", "--json")
    run_everything_due()

    assert repaired.json["is_open"] is True
    assert {name: reload(record).txid for name, record in waiting.items()} == anchored_as
    assert {reload(record).status for record in waiting.values()} == {"confirmed"}
    assert set(world.chain_transactions()) == sent
    assert {each["kind"] for each in repaired.json["lost"]} == {"TRANSFER"}
    assert {each["uid_tag_id"] for each in repaired.json["lost"]} == {
        f"SOLD-{name}" for name in turns[1:]
    }
    assert {verification.verify(f"SOLD-{name}").status for name in turns} == {"authentic"}
    assert invariants.check(pause_seconds=0).is_clean


def test_m2_outputs_come_back_unconfirmed_and_a_sync_says_what_they_are(
    world: World, manage: Manage, dump: Callable[[], Path]
) -> None:
    points = world.fill(4, 2000)
    Utxo.lock_each({points[0]: ObjectId()}, backups.utc_now())
    path = dump()
    spent = world.spend_outside([points[1]])

    restore(manage, path)

    assert world.statuses() == {"unconfirmed": 4}
    pool_sync.sync()
    assert world.status(points[1]) == "spent"
    assert Utxo.objects(outpoint=points[1]).get().spent_txid == spent
    assert world.statuses() == {"available": 3, "spent": 1}


def test_m1_a_transaction_that_was_under_way_is_sent_again_with_the_same_bytes(
    world: World, manage: Manage, dump: Callable[[], Path]
) -> None:
    world.fill(3, 2000)
    world.set_faults({"kind": "status", "status": 503, "path": "/tx/raw"})
    record = accept(world, "UNDER-WAY")
    anchoring.anchor([record])
    path = dump()
    world.clear_faults()
    txid = reload(record).txid
    restore(manage, path)
    assert manage("db", "compare", "--json").json["not_on_chain"] == [txid]

    repaired = manage("db", "compare", "--repair", "--json")
    sweeper.sweep()

    assert repaired.json["released"] == 2
    assert reload(record).status == "confirmed"
    assert set(world.chain_transactions()) >= {txid}
    assert manage("db", "compare", "--json").json["ok"] is True


def test_what_was_under_way_and_has_arrived_since_is_taken_over(
    world: World, manage: Manage, dump: Callable[[], Path]
) -> None:
    world.fill(3, 2000)
    world.set_faults({"kind": "status", "status": 503, "path": "/tx/raw"})
    record = accept(world, "ARRIVED")
    anchoring.anchor([record])
    path = dump()
    world.clear_faults()
    ChainTransaction.make_due([reload(record).transaction_id], backups.utc_now())
    sweeper.sweep()
    txid = reload(record).txid
    restore(manage, path)

    assert manage("db", "compare", "--json").json["behind"] == [txid]
    assert manage("db", "compare", "--repair", "--json").code == 0

    assert reload(record).status == "confirmed"
    assert PatchState.find("ARRIVED") is not None


def test_a_repair_can_die_anywhere_and_be_run_again(
    world: World, manage: Manage, dump: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(5, 2000)
    waiting = [accept(world, f"WAITING-{n}") for n in range(2)]
    path = dump()
    anchoring.anchor(waiting)
    txids = {reload(each).txid for each in waiting}
    restore(manage, path)
    sent = set(world.chain_transactions())
    settle = settlement.settle

    def die(transactions: Any) -> None:
        settle(transactions)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(settlement, "settle", die)
        with pytest.raises(KeyboardInterrupt):
            chain_repair.repair()
    assert Setting.find_value(RESTORED) is not None

    done = chain_repair.repair()

    assert done.is_open
    assert {reload(each).txid for each in waiting} == txids
    assert set(world.chain_transactions()) == sent
    assert done.invariants.is_clean


def test_what_a_lost_batch_may_carry_is_not_anchored_unasked(
    world: World, manage: Manage, dump: Callable[[], Path]
) -> None:
    """The chain has the root of a tree alone: nobody can tell which records are its leaves."""
    world.fill(5, 2000)
    waiting = [accept(world, f"WAITING-{n}") for n in range(3)]
    path = dump()
    assert batches.anchor_waiting().processed == 3
    restore(manage, path)
    sent = set(world.chain_transactions())

    careful = manage("db", "compare", "--repair", "--json")
    run_everything_due()

    assert [each["kind"] for each in careful.json["lost"]] == ["BATCH"]
    assert sorted(careful.json["uncertain"]) == sorted(str(each.id) for each in waiting)
    assert (careful.code, careful.json["is_open"], careful.json["released"]) == (1, False, 0)
    assert set(world.chain_transactions()) == sent
    assert manage("db", "status").code == 1
    again = manage("db", "compare", "--repair", "--json").json
    assert (again["is_open"], again["released"]) == (False, 0)
    assert manage("db", "compare", "--repair", "--accept-uncertain").code in (0, 1)
    assert manage("db", "compare", "--repair").code == 5, "it is open: what runs is not to be moved"
    run_everything_due()
    assert {reload(each).status for each in waiting} == {"confirmed"}


def test_a_dump_is_private_and_never_written_over_another_file(
    world: World, manage: Manage, tmp_path: Path
) -> None:
    path = tmp_path / "a.dump"
    old_mask = os.umask(0)
    try:
        assert manage("db", "dump", str(path)).code == 0
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()

    again = manage("db", "dump", str(path))
    nowhere = manage("db", "dump", str(tmp_path / "none" / "a.dump"))

    assert (again.code, nowhere.code) == (5, 5)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["a.dump"]


def test_a_database_that_is_not_empty_is_left_alone(
    world: World, manage: Manage, dump: Callable[[], Path]
) -> None:
    world.fill(1, 2000)
    path = dump()
    kept = everything(world)

    refused = manage("db", "restore", str(path))
    unsure = manage("db", "restore", str(path), "--drop")

    assert refused.code == 5
    assert "is not empty" in refused.stderr
    assert "utxos" in refused.stderr
    assert unsure.code != 0
    assert everything(world) == kept


def damage(data: bytes, how: str) -> bytes:
    plain = gzip.decompress(data)
    return {
        "cut": data[: len(data) // 2],
        "no end": gzip.compress(plain[: plain.rindex(b"\x03end\x00") - 4]),
        "a byte": gzip.compress(plain.replace(b"satoshis", b"satoshiz", 1)),
        "text": b"\x00 not a dump",
        "empty": b"",
        "other": gzip.compress(bson.encode({"format": "something else"})),
        "newer": gzip.compress(bson.encode({"format": "patchproof-dump", "version": 99})),
        "nonsense": gzip.compress(b"\xff" * 10_000),
    }[how]


@pytest.mark.parametrize(
    "how", ["cut", "no end", "a byte", "text", "empty", "other", "newer", "nonsense"]
)
def test_a_damaged_file_is_refused_before_anything_is_changed(
    world: World, manage: Manage, dump: Callable[[], Path], how: str
) -> None:
    world.insert(1, 2000)
    path = dump()
    path.write_bytes(damage(path.read_bytes(), how))
    kept = everything(world)

    refused = manage("db", "restore", str(path), "--drop", "--yes")

    assert refused.code == 5, refused.stdout
    assert str(path.name) in "".join(refused.stderr.split())
    assert everything(world) == kept


def test_a_dump_of_a_moment_can_be_asked_for(world: World, manage: Manage, tmp_path: Path) -> None:
    """The embedded server promises one and gives none: that is found out by trying."""
    refused = manage("db", "dump", str(tmp_path / "a.dump"), "--snapshot")

    assert refused.code == 5
    assert "replica set" in refused.stderr
    assert Setting.objects(key__startswith="DUMP_PROBE").count() == 0
    assert list(tmp_path.iterdir()) == []


def test_what_another_tool_has_restored_is_held_back_as_well(world: World, manage: Manage) -> None:
    world.fill(2, 2000)
    record = accept(world, "WAITING")

    assert manage("db", "hold").code == 0

    run_everything_due()
    assert (world.statuses(), reload(record).status) == ({"unconfirmed": 2}, "pending")
    assert manage("db", "compare", "--repair", "--json").json["released"] == 1
    run_everything_due()
    assert reload(record).status == "confirmed"


def test_compare_says_nothing_of_a_whole_database(world: World, manage: Manage) -> None:
    world.fill(2, 2000)
    register(world, "NFC-1")

    compared = manage("db", "compare", "--json")

    assert (compared.code, compared.json["ok"]) == (0, True)
    assert (compared.json["asked"], compared.json["unknown"]) == (1, [])


def test_compare_needs_the_chain(world: World, manage: Manage) -> None:
    world.set_faults({"kind": "status", "status": 503})

    assert manage("db", "compare").code == 4
