"""The doctor says what is wrong, by words and by exit code."""

from __future__ import annotations

from bson import ObjectId

from app import extensions
from app.models.utxo import Utxo
from app.services import anchoring, invariants
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
