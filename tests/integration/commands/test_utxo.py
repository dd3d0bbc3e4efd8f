"""The pool's commands: what they do, what they say, and how they end."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from bson import ObjectId

from app import extensions
from app.bitcoin.addresses import Network
from app.domain.clock import utc_now
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services.maintenance import exclusive
from tests.integration.commands.conftest import ROOT, TIMEOUT_SECONDS, Manage
from tests.integration.pool.world import World
from tests.integration.services.invariants import check_money

COMMANDS = ("health", "sync", "split", "sweep", "reap", "add", "maintain")
OLD_SCRIPTS = (
    "utxo-manager.js",
    "sweep-change.js",
    "reapLocks.js",
    "revert-stale-locks.js",
    "addUtxo.js",
    "check-health.js",
)


def test_help_names_the_scripts_that_it_replaces(manage: Manage) -> None:
    shown = manage("utxo", "--help")
    assert shown.code == 0
    for name in (*COMMANDS, *OLD_SCRIPTS):
        assert name in shown.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(manage: Manage, command: str) -> None:
    shown = manage("utxo", command, "--help")
    assert shown.code == 0
    assert "--json" in shown.stdout


def test_o6_sync_then_split_end_at_once(manage: Manage, world: World) -> None:
    world.fund(1, 100_000)
    world.mine()

    synced = manage.process("utxo", "sync", "--json")
    assert (synced.code, synced.json["added"]) == (0, 1)
    done = manage.process("utxo", "split", "--target", "12", "--json")

    assert done.code == 0
    assert done.json["outcome"] == "done"
    assert done.json["transactions"][0]["status"] == "accepted"
    assert len(world.amounts()) == 12
    # The work takes a second; a client that stays open would keep the process for ever.
    assert max(synced.seconds, done.seconds) < 15
    assert synced.stderr == done.stderr == ""
    check_money(world)


def test_tables_for_people_show_txids_whole(manage: Manage, world: World) -> None:
    world.fill(1, 100_000)
    done = manage("utxo", "split", "--target", "5")
    [sent] = ChainTransaction.objects
    # A cell is folded over lines, never cut.
    cells = "".join(line.split("│")[1].strip() for line in done.stdout.splitlines() if "│" in line)
    assert sent.txid in cells
    assert "{" not in done.stdout


def test_nothing_to_do_is_2(manage: Manage, world: World) -> None:
    world.fill(10, 5000)
    assert manage("utxo", "split", "--json").code == 2
    assert manage("utxo", "split", "--dry-run", "--json").code == 2
    assert manage("utxo", "sweep", "--json").json["outcome"] == "dust_below_limit"
    assert manage("utxo", "sweep").code == 2
    assert manage("utxo", "reap").code == 2


def test_m13_a_held_lock_is_3_and_says_so(manage: Manage, world: World) -> None:
    world.fill(1, 100_000)
    with exclusive():
        for words in (("sync",), ("split",), ("sweep",), ("maintain",)):
            ended = manage("utxo", *words)
            assert ended.code == 3
            assert "another process holds the lock 'pool'" in ended.stderr
    # Looking needs no lock.
    with exclusive():
        assert manage("utxo", "split", "--dry-run").code == 0
        assert manage("utxo", "health").code == 0


def test_an_outside_service_that_is_away_is_4(manage: Manage, world: World) -> None:
    world.fill(1, 100_000)
    world.set_faults({"kind": "status", "status": 503})
    assert manage("utxo", "sync").code == 4
    world.clear_faults()
    world.configure(KMS_SIGN_URL="http://127.0.0.1:1")
    ended = manage("utxo", "split")
    assert (ended.code, "the signer did not sign" in ended.stderr) == (4, True)
    assert "Traceback" not in ended.stderr
    world.configure(REDIS_URL="redis://:secret@127.0.0.1:1/0")
    ended = manage("utxo", "split")
    assert (ended.code, "secret" in ended.stderr) == (4, False)
    world.configure(MONGODB_URI="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300")
    assert manage("utxo", "reap").code == 4


def test_a_split_without_a_verdict_is_4_and_not_lost(manage: Manage, world: World) -> None:
    world.fill(1, 100_000)
    world.set_faults({"kind": "status", "status": 503, "path": "/tx/raw"})
    ended = manage("utxo", "split", "--json")
    assert (ended.code, ended.json["outcome"]) == (4, "not_accepted")
    assert ended.json["transactions"][0]["status"] == "committed"
    assert world.statuses() == {"locked": 1}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("split", "--size", "1999"), "are dust"),
        (("split", "--target", "5000"), "enough for"),
        (("split", "--target", "5000", "--dry-run"), "enough for"),
        (("sweep", "--threshold", "5001"), "above UTXO_SPLIT_SIZE_SATS"),
        (
            (
                "sweep",
                "--changeAddress",
                "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
                "--changeKeyId",
                "x",
            ),
            "",
        ),
        (("sweep", "--key-identifier", "issuer", "--destination", "nowhere"), "destination"),
    ],
)
def test_what_is_refused_is_5_with_the_reason(
    manage: Manage, world: World, words: tuple[str, ...], reason: str
) -> None:
    world.fill(1, 100_000)
    before = world.snapshot()
    ended = manage("utxo", *words)
    assert ended.code == 5
    assert reason in ended.stderr.replace("\n", " ")
    assert world.snapshot() == before


def test_m14_dry_runs_write_and_sign_nothing(manage: Manage, world: World) -> None:
    world.fund(20, 900)
    world.fill(1, 100_000)
    world.fund(1, 5000)
    Utxo.objects(satoshis=900).limit(1).update_one(
        set__status="locked",
        set__lock_id=ObjectId(),
        set__locked_at=utc_now() - timedelta(hours=1),
    )
    world.fund(1, 900)
    before = world.snapshot()
    world.configure(KMS_SIGN_URL="http://127.0.0.1:1", DUST_SWEEP_LIMIT="10")

    sync = manage("utxo", "sync", "--dry-run", "--json")
    assert (sync.code, sync.json["added"]) == (0, 2)
    split = manage("utxo", "split", "--target", "15", "--dryRun", "--json")
    assert (split.code, split.json["outputs"], len(split.json["rounds"])) == (0, 14, 1)
    sweep = manage("utxo", "sweep", "--dry-run", "--json")
    assert (sweep.code, sweep.json["count"], sweep.json["rounds"][0]["inputs"]) == (0, 19, 19)
    reap = manage("utxo", "reap", "--older-than-mins", "15", "-n", "500", "--dry-run", "--json")
    assert (reap.code, reap.json) == (0, {"freed": 1})
    whole = manage("utxo", "maintain", "--dryRun", "--json")
    assert (whole.code, set(whole.json)) == (0, {"sync", "sweep", "split"})

    assert world.snapshot() == before


def test_reaping_takes_the_older_scripts_flags(manage: Manage, world: World) -> None:
    points = world.fill(3, 5000)
    for point in points:
        Utxo.objects(outpoint=point).update(
            set__status="locked",
            set__lock_id=ObjectId(),
            set__held=False,
            set__locked_at=utc_now() - timedelta(minutes=20),
        )
    Utxo.objects(outpoint=points[0]).update(set__held=True)
    assert manage("utxo", "reap", "--age", "30", "--json").code == 2
    assert manage("utxo", "reap", "--age", "15", "--limit", "1", "--json").json == {"freed": 1}
    assert manage("utxo", "reap", "-m", "15", "-n", "500", "--json").json == {"freed": 1}
    assert world.status(points[0]) == "locked"


def test_sweeping_takes_the_older_scripts_flags(manage: Manage, world: World) -> None:
    name, key = world.signer.take_key()
    address = key.public_key.address(Network.REGTEST)
    world.fund(3, 5000, address=address)
    world.mine()
    words = ("--changeAddress", address, "--changeKeyId", name)

    planned = manage(
        "utxo", "sweep", *words, "--destinationAddress", world.address, "--dryRun", "--json"
    )
    assert (planned.code, planned.json["count"]) == (0, 3)
    done = manage("utxo", "sweep", *words, "--destinationAddress", world.address, "--json")

    assert (done.code, done.json["inputs"]) == (0, 3)
    assert world.amounts() == [15_000 - done.json["transactions"][0]["fee_satoshis"]]
    assert manage("utxo", "sweep", "--address", address).code == 2  # no key: wrong usage


def test_the_change_address_is_the_one_that_is_swept_by_default(
    manage: Manage, world: World
) -> None:
    name, key = world.signer.take_key()
    address = key.public_key.address(Network.REGTEST)
    world.configure(UTXO_CHANGE_ADDRESS=address)
    world.fund(2, 5000, address=address)
    world.mine()
    done = manage("utxo", "sweep", "--key-identifier", name, "--json")
    assert (done.code, done.json["inputs"]) == (0, 2)
    assert len(world.amounts()) == 1


def test_the_whole_round(manage: Manage, world: World) -> None:
    world.fund(20, 900)
    world.fund(1, 200_000)
    world.mine()
    done = manage("utxo", "maintain", "--json")
    assert done.code == 0
    assert done.json["sync"]["added"] == 21
    assert done.json["sweep"]["inputs"] == 20
    assert done.json["split"]["outcome"] == "done"
    check_money(world)
    assert manage("utxo", "maintain").code == 0


def add(point: str, *more: str) -> tuple[str, ...]:
    txid, vout = point.split(":")
    return ("utxo", "add", "--txid", txid, "--vout", vout, *more)


def test_adding_takes_the_older_scripts_flags(manage: Manage, world: World) -> None:
    [point] = world.fund(1, 5000)
    world.mine()
    script = f"76a914{world.key.public_key.hash160().hex()}88ac"
    known = ("--satoshis", "5000", "--keyId", world.key_identifier)

    planned = manage(*add(point, *known, "--dry-run", "--json"))
    assert (planned.code, Utxo.objects.count()) == (0, 0)
    added = manage(*add(point, *known, "--address", world.address, "--script", script, "--json"))
    assert (added.code, added.json["status"], added.json["confirmations"]) == (0, "available", 1)
    again = manage(*add(point, *known, "--json"))
    assert (again.code, again.json["is_new"]) == (2, False)


def test_adding_what_the_chain_contradicts_is_5(manage: Manage, world: World) -> None:
    spent, other = world.fill(2, 5000)
    world.spend_outside([spent])
    Utxo.objects.delete()
    keys = ("--keyId", world.key_identifier)
    assert manage(*add(spent, "--satoshis", "5000", *keys)).code == 5
    assert manage(*add(other, "--satoshis", "5001", *keys)).code == 5
    assert manage(*add(f"{'ab' * 32}:0", "--satoshis", "5000", *keys)).code == 5
    assert manage(*add(other, "--satoshis", "5000", "--keyId", "nobody")).code == 5
    assert manage(*add(other, "--satoshis", "5000")).code == 2
    assert Utxo.objects.count() == 0


@pytest.mark.parametrize("flags", [("--exclusive", "--confirm"), ("--exclusive",), ("--force",)])
def test_m11_nothing_is_marked_spent_without_the_chain(
    manage: Manage, world: World, flags: tuple[str, ...]
) -> None:
    [point] = world.fund(1, 5000)
    world.fill(3, 5000)
    before = world.snapshot()
    ended = manage(*add(point, "--satoshis", "5000", "--keyId", world.key_identifier, *flags))
    assert ended.code == 5
    assert "utxo sync" in ended.stderr
    assert world.snapshot() == before


def test_health_for_people_and_programs(manage: Manage, world: World) -> None:
    world.fill(2, 5000)
    shown = manage("utxo", "health")
    assert shown.code == 0
    assert "registrations left" in shown.stdout
    assert "fewer than 10" in shown.stderr
    checked = manage("utxo", "health", "--check", "--json")
    assert checked.code == 1
    assert checked.json["gauge"]["by_status"]["available"] == {"count": 2, "satoshis": 10_000}
    assert checked.json["chain"]["outputs"] == 2
    world.fill(10, 5000)
    assert manage("utxo", "health", "--check", "--json").code == 0


def test_progress_is_shown_to_people_and_to_nobody_else(manage: Manage, world: World) -> None:
    world.fill(1, 100_000)
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "manage.py", "utxo", "split", "--target", "5"],
        cwd=ROOT,
        env=world.environ | {"PATH": "/usr/bin:/bin", "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=follower,
    ) as process:
        os.close(follower)
        shown = _read_all(leader)
        assert process.stdout is not None
        table = process.stdout.read()
        assert process.wait(timeout=TIMEOUT_SECONDS) == 0
    os.close(leader)
    assert b"split" in shown
    # Whether the beginning is seen too depends on how soon the work is done.
    assert b"1/1" in shown
    assert b"\x1b" not in table


def _read_all(leader: int) -> bytes:
    shown = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:
            # The other side was closed.
            return shown
        if not part:
            return shown
        shown += part


def start_host(world: World, *words: str) -> subprocess.Popen[bytes]:
    """Starts `manage.py utxo` as another host would."""
    return subprocess.Popen(
        [sys.executable, "manage.py", "utxo", *words],
        cwd=ROOT,
        env=world.environ | {"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_lock() -> None:
    client = extensions.get().redis
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not client.exists("lock:pool"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_hosts_at_once_maintain_once(manage: Manage, world: World) -> None:
    world.fund(20, 900)
    world.fund(1, 200_000)
    world.mine()
    # The first waits for the chain until the second has had its try.
    world.configure(WOC_TIMEOUT_MS="20000")
    world.set_faults({"kind": "delay", "seconds": 3, "path": "/chain/info"})
    first = start_host(world, "maintain")
    wait_for_lock()

    assert manage("utxo", "maintain").code == 3

    assert first.wait(timeout=TIMEOUT_SECONDS) == 0
    assert sorted(each.kind for each in ChainTransaction.objects) == ["split", "sweep"]
    check_money(world)


def test_a_host_that_dies_leaves_a_lock_that_runs_out(manage: Manage, world: World) -> None:
    world.fill(1, 200_000)
    world.set_faults({"kind": "delay", "seconds": 20, "path": "/chain/info", "times": 1})
    host = start_host(world, "sync")
    wait_for_lock()
    host.kill()
    host.wait(timeout=TIMEOUT_SECONDS)
    world.clear_faults()

    assert manage("utxo", "sync").code == 3
    assert 0 < extensions.get().redis.ttl("lock:pool") <= 60
    extensions.get().redis.pexpire("lock:pool", 1)
    time.sleep(0.05)
    assert manage("utxo", "sync").code == 0
