"""The doctor says what is wrong, by words and by exit code."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest
from bson import ObjectId
from click.testing import CliRunner

from app import extensions
from app.bitcoin.keys import PrivateKey
from app.models.utxo import Utxo
from app.services import anchoring, diagnosis, invariants, measuring
from manage import cli
from tests.integration.commands.conftest import Manage
from tests.integration.pool.world import World

OUTAGE = {"kind": "status", "status": 503}


def break_pool(world: World) -> str:
    """Holds an output for a transaction that does not exist; answers its outpoint."""
    [point] = world.fill(1, 5000)
    current = extensions.get()
    change = {"status": "locked", "held": True, "lock_id": ObjectId()}
    current.database[current.settings.db_name]["utxos"].update_one({"_id": point}, {"$set": change})
    return point


def test_a_whole_system(manage: Manage, world: World) -> None:
    world.fill(2, 5000)
    anchoring.anchor([world.register()])

    shown = manage("doctor", "invariants", "--json")

    assert shown.code == 0, shown.stderr
    assert shown.json["ok"] is True
    assert set(shown.json["checked"]) == set(invariants.RULES)
    assert shown.json["not_checked"] == {}


def test_p3_a_violation_is_named_with_its_ids(manage: Manage, world: World) -> None:
    point = break_pool(world)

    shown = manage("doctor", "invariants", "--json")

    assert shown.code == 1
    assert shown.json["ok"] is False
    [violation] = shown.json["violations"]
    assert violation["rule"] == "locked-output-has-owner"
    assert violation["ids"] == [point]
    table = manage("doctor", "invariants")
    assert table.code == 1
    assert "VIOLATED" in table.stdout
    assert f"  {point}\n" in table.stdout


def test_m2_a_payment_that_is_not_synced_yet_is_told_and_no_violation(
    manage: Manage, world: World
) -> None:
    world.fund(1, 5000)

    shown = manage("doctor", "invariants")

    assert shown.code == 0, shown.stdout
    assert "outputs on the chain that are not in the pool yet: 1, run" in shown.stdout
    assert manage("doctor", "invariants", "--json").json["notices"]


def test_a_chain_that_is_away_is_told_apart(manage: Manage, world: World) -> None:
    world.set_faults(OUTAGE)

    assert manage("doctor", "invariants").code == 4
    assert manage("doctor", "invariants", "--no-chain").code == 0
    shown = manage("doctor", "invariants", "--json")
    assert set(shown.json["not_checked"]) == {"pool-equals-chain"}


def test_a_violation_counts_more_than_an_absent_chain(manage: Manage, world: World) -> None:
    break_pool(world)
    world.set_faults(OUTAGE)

    assert manage("doctor", "invariants").code == 1


def test_o10_health_asks_for_nothing_that_is_not_used(manage: Manage, world: World) -> None:
    world.fill(1, 5000)

    shown = manage("doctor", "health", "--json")

    assert shown.code == 0, shown.stdout
    assert shown.json["overallStatus"] == "PASS"
    names = [check["name"] for check in shown.json["checks"]]
    needed = {"settings", "database", "redis", "signer", "chain", "mail", "pool against chain"}
    assert needed <= set(names)


def test_p4_health_fails_where_mail_can_not_be_sent(manage: Manage, world: World) -> None:
    world.configure(SMTP_PORT="1")

    shown = manage("doctor", "health", "--json")

    assert shown.code == 1
    [mail] = [check for check in shown.json["checks"] if check["name"] == "mail"]
    assert (mail["status"], mail["details"]) == ("FAIL", "no answer (ConnectionRefusedError)")


def test_health_fails_where_the_pool_is_not_the_chains(manage: Manage, world: World) -> None:
    [point] = world.fill(1, 5000)
    world.spend_outside([point])

    shown = manage("doctor", "health", "--json")

    assert shown.code == 1
    [failed] = [check for check in shown.json["checks"] if check["status"] == "FAIL"]
    assert failed["name"] == "pool against chain"
    assert point in failed["details"]
    assert Utxo.objects.get().status == "available"


def test_health_fails_where_a_part_is_away(manage: Manage, world: World) -> None:
    world.set_faults(OUTAGE)

    shown = manage("doctor", "health")

    assert shown.code == 1
    assert "FAIL" in shown.stdout


def test_help_names_the_scripts_that_it_replaces(manage: Manage) -> None:
    shown = manage("doctor", "--help")

    assert shown.code == 0
    for name in ("check-health.js", "smoke-health.js", "pingMongo.js"):
        assert name in shown.stdout


def examine(manage: Manage, *words: str) -> tuple[int, dict[tuple[str, str], dict[str, object]]]:
    """The exit code, and each check by its group and name."""
    shown = manage("doctor", "--json", *words)
    return shown.code, {(each["group"], each["name"]): each for each in shown.json["checks"]}


def test_the_doctor_looks_at_everything(manage: Manage, world: World) -> None:
    world.fill(12, 5000)
    assert manage("db", "migrate").code == 0

    code, checks = examine(manage)

    bad = {name: each for name, each in checks.items() if not each["is_good"]}
    # Nothing but this test runs here.
    assert set(bad) == {("work", "processes"), ("work", "sweeper")}
    assert code == 1
    assert all(each["advice"] for each in bad.values())
    wanted = {
        ("settings", "environment"),
        ("needs", "database"),
        ("needs", "writing"),
        ("needs", "issuer's key"),
        ("needs", "funding key"),
        ("database", "migrations"),
        ("mail", "server"),
        ("clocks", "redis"),
        ("clocks", "database"),
        ("clocks", "chain"),
        ("money", "pool"),
        ("promises", "invariants"),
        ("versions", "redis"),
        ("versions", "database"),
    }
    assert wanted <= set(checks)


def test_the_doctor_is_content_with_a_system_that_works(manage: Manage, world: World) -> None:
    world.fill(12, 5000)
    assert manage("db", "migrate").code == 0
    client, now = extensions.get().redis, time.time()
    done = ["patchproof_task_last_done_timestamp_seconds", "", "sweep-unfinished"]
    client.hset(measuring.MOMENTS, json.dumps(done), now)
    for number, kind in enumerate(("web", "worker", "beat")):
        client.hset(measuring.PROCESSES, f"here:{number}", json.dumps([kind, now, {}]))

    code, checks = examine(manage)

    assert code == 0, [each for each in checks.values() if not each["is_good"]]
    assert "BAD" not in manage("doctor").stdout


def test_the_doctor_says_what_to_do_about_a_violation(manage: Manage, world: World) -> None:
    break_pool(world)

    _, checks = examine(manage)
    found = checks["promises", "invariants"]
    assert found["is_good"] is False
    assert "locked-output-has-owner: 1" in str(found["found"])
    assert "docs/runbooks/invariant-broken.md" in str(found["advice"])
    _, quick = examine(manage, "--quick")
    assert "doctor invariants --keep" in str(quick["promises", "invariants"]["advice"])

    kept = manage("doctor", "invariants", "--keep")
    assert kept.code == 1
    _, quick = examine(manage, "--quick")
    assert "locked-output-has-owner: 1" in str(quick["promises", "invariants"]["found"])
    assert "BAD" in manage("doctor", "--quick").stdout


def test_the_doctor_finds_another_key_than_the_signers(manage: Manage, world: World) -> None:
    stranger = PrivateKey.generate().public_key.address(world.settings.woc_network)
    world.configure(UTXO_FUNDING_ADDRESS=stranger)

    code, checks = examine(manage, "--quick")

    assert code == 1
    assert "UTXO_FUNDING_ADDRESS must be" in str(checks["needs", "funding key"]["found"])


def test_the_doctor_goes_on_where_a_part_is_away(manage: Manage, world: World) -> None:
    world.configure(REDIS_URL="redis://127.0.0.1:1/0")

    code, checks = examine(manage, "--quick")

    assert code == 1
    assert checks["needs", "redis"]["is_good"] is False
    assert checks["clocks", "redis"]["is_good"] is False
    assert checks["clocks", "database"]["is_good"] is True


def test_o3_the_doctor_names_settings_that_can_not_be_used(manage: Manage, world: World) -> None:
    environ = {**world.environ, "KMS_API_KEY": ""}
    shown = CliRunner().invoke(cli, ["doctor", "--json"], env=environ)
    table = CliRunner().invoke(cli, ["doctor"], env=environ)
    checks = {(each["group"], each["name"]): each for each in json.loads(shown.stdout)["checks"]}
    code = shown.exit_code
    assert "BAD" in table.stdout

    assert code == 1
    assert "KMS_API_KEY" in str(checks["settings", "environment"]["found"])


def test_a_clock_that_goes_wrong_is_told(
    manage: Manage, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "time", SimpleNamespace(time=lambda: time.time() + 60))

    _, checks = examine(manage, "--quick")

    for name in ("redis", "database"):
        found = checks["clocks", name]
        assert found["is_good"] is False
        assert "differs by 60" in str(found["found"]) or "differs by 59" in str(found["found"])
