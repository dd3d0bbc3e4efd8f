"""How far the pool reaches is known, and said before it runs dry."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bson import ObjectId

from app.domain.clock import utc_now
from app.domain.fuel import TYPICAL_REGISTRATION_BYTES
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, fuel_gauge, pool_health
from tests.integration.pool.world import World


def test_a_new_pool_counts_what_it_has(world: World) -> None:
    points = world.fill(4, 5000)
    world.fund(1, 7000)
    from_chain = world.fill(1, 900)
    Utxo.objects(outpoint=points[0]).update(set__status="locked")
    Utxo.objects(outpoint=points[1]).update(set__status="spent")
    Utxo.objects(outpoint=from_chain[0]).update(set__status="unconfirmed")

    gauge = fuel_gauge.read()

    levels = {state: (level.count, level.satoshis) for state, level in gauge.by_status.items()}
    assert levels == {
        "unconfirmed": (1, 900),
        "available": (3, 17_000),
        "locked": (1, 5000),
        "spent": (1, 5000),
        "void": (0, 0),
    }
    assert gauge.useful == 3
    assert gauge.satoshis_per_registration == TYPICAL_REGISTRATION_BYTES // 10
    assert gauge.registrations_left == 17_000 // gauge.satoshis_per_registration
    assert (gauge.hours_left, gauge.waiting, gauge.oldest_waiting_seconds) == (None, 0, None)


def test_hours_follow_the_last_hour(world: World) -> None:
    world.fill(4, 5000)
    for number in range(3):
        world.register(f"NFC-{number}")
    anchoring.anchor_due(10)
    spent = sum(ChainTransaction.objects.scalar("fee_satoshis"))
    sizes = sum(ChainTransaction.objects.scalar("size_bytes"))
    _add_old_transaction()

    gauge = fuel_gauge.read()

    assert gauge.registrations_last_hour == 3
    left = 20_000 - spent
    assert gauge.by_status["available"].satoshis == left
    assert gauge.hours_left == round(left / spent, 1)
    assert gauge.satoshis_per_registration == -(-round(sizes / 3) * 100 // 1000)
    # The size assumed for an idle service is near what it really takes.
    assert 0.9 < sizes / 3 / TYPICAL_REGISTRATION_BYTES < 1.1


def test_the_oldest_that_waits_is_shown_with_its_reason(world: World) -> None:
    first = world.register("NFC-1")
    world.register("NFC-2")
    anchoring.anchor_due(10)
    AuthenticationRecord.objects(id=first.id).update(
        set__created_at=utc_now() - timedelta(seconds=700)
    )

    gauge = fuel_gauge.read()

    assert gauge.waiting == 2
    assert gauge.oldest_waiting_seconds == pytest.approx(700, abs=30)
    assert gauge.oldest_waiting_reason == "the pool has no output left that pays for it"


def test_a_record_that_waits_for_the_network_says_so(world: World) -> None:
    world.fill(2, 5000)
    world.register("NFC-1")
    assert fuel_gauge.read().oldest_waiting_reason == "nobody has taken it up yet"
    world.set_faults({"kind": "status", "status": 503, "path": "/tx/raw"})
    anchoring.anchor_due(10)
    reason = fuel_gauge.read().oldest_waiting_reason
    assert reason is not None
    assert reason.startswith("its transaction was not accepted: ")


def test_a_full_pool_warns_of_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.fill(10, 5000)
    assert fuel_gauge.warn() == []
    assert "fuel.low" not in str([vars(record) for record in caplog.records])


def test_a_pool_that_runs_dry_is_warned_of(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.fill(2, 5000)
    for number in range(20):
        world.register(f"NFC-{number}")
    for _ in range(12):
        AuthenticationRecord.objects(status="pending").update(set__next_attempt_at=utc_now())
        anchoring.anchor_due(20)
    AuthenticationRecord.objects.limit(1).update_one(
        set__status="pending",
        set__next_attempt_at=utc_now(),
        set__created_at=utc_now() - timedelta(hours=1),
    )
    caplog.clear()

    warnings = fuel_gauge.warn()

    assert [text.split()[0:3] for text in warnings] == [
        ["the", "pool", "lasts"],
        ["the", "pool", "has"],
        ["a", "record", "has"],
    ]
    events = [record for record in caplog.records if getattr(record, "event", "") == "fuel.low"]
    assert len(events) == 3
    assert events[0].registrations_left == fuel_gauge.read().registrations_left


def test_the_number_of_queries_is_constant(world: World) -> None:
    totals = []
    for count in (1, 200):
        world.insert(count, 1000)
        with world.count_commands() as counted:
            fuel_gauge.read()
        totals.append(counted.total)
    assert totals[0] == totals[1] <= 12


def test_o11_health_looks_at_the_names_that_the_service_uses(world: World) -> None:
    world.fill(2, 5000)
    world.fund(1, 5000)
    world.put(UTXO_MIN_CONFIRMATIONS=3)

    seen = pool_health.read()

    assert seen.funding_address == world.address
    assert seen.knobs.min_confirmations == 3
    assert seen.chain is not None
    assert (seen.chain.outputs, seen.chain.satoshis) == (3, 15_000)
    assert (seen.chain.confirmed_outputs, seen.chain.confirmed_satoshis) == (2, 10_000)
    assert seen.warnings == [
        "the pool has 2 useful outputs, fewer than 10, enough for 175 registrations"
    ]


def test_health_without_the_chain_says_so(world: World) -> None:
    world.set_faults({"kind": "status", "status": 503})
    seen = pool_health.read()
    assert seen.chain is None
    assert seen.chain_error is not None
    assert "503" in seen.chain_error


def _add_old_transaction() -> None:
    """A transaction from two hours ago, as its id says."""
    row = ChainTransaction._get_collection().find_one()
    assert row is not None
    row["_id"] = ObjectId.from_datetime(utc_now() - timedelta(hours=2))
    row["txid"] = "cd" * 32
    ChainTransaction._get_collection().insert_one(row)
