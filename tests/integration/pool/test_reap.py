"""Age frees what nobody holds, and never what a transaction holds."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bson import ObjectId

from app.domain.clock import utc_now
from app.models.utxo import Utxo
from app.services import reaper
from tests.integration.pool.world import World


def lock(point: str, *, minutes: float, held: bool = False) -> None:
    Utxo.objects(outpoint=point).update(
        set__status="locked",
        set__lock_id=ObjectId(),
        set__held=held,
        set__locked_at=utc_now() - timedelta(minutes=minutes),
    )


def test_m3_a_held_output_is_never_freed_by_its_age(world: World) -> None:
    held, forgotten = world.fill(2, 5000)
    lock(held, minutes=10_000, held=True)
    lock(forgotten, minutes=10_000)
    assert reaper.reap() == 1
    assert (world.status(held), world.status(forgotten)) == ("locked", "available")


def test_m3_what_is_spent_between_looking_and_freeing_stays_spent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent, held = world.fill(2, 5000)
    lock(spent, minutes=10)
    lock(held, minutes=10)
    original = reaper.list_expired

    def look_and_be_late(**options: int | None) -> list[Utxo]:
        found = original(**options)
        Utxo.objects(outpoint=spent).update(set__status="spent", set__spent_txid="ab" * 32)
        Utxo.objects(outpoint=held).update(set__held=True)
        return found

    monkeypatch.setattr(reaper, "list_expired", look_and_be_late)
    assert reaper.reap() == 0
    assert (world.status(spent), world.status(held)) == ("spent", "locked")


def test_a_lock_is_left_alone_while_its_lease_lasts(world: World) -> None:
    world.configure(CLAIM_LEASE_SECONDS="120")
    young, old = world.fill(2, 5000)
    lock(young, minutes=1.9)
    lock(old, minutes=2.1)
    # An age below the lease does not shorten it.
    assert reaper.reap(age_minutes=1) == 1
    assert (world.status(young), world.status(old)) == ("locked", "available")


def test_the_older_systems_age_and_limit_count(world: World) -> None:
    world.configure(UTXO_REAPER_MINUTES="15", UTXO_REAPER_BATCH_LIMIT="2")
    points = world.fill(4, 5000)
    for point in points:
        lock(point, minutes=16)
    lock(points[0], minutes=14)
    assert reaper.reap() == 2
    assert reaper.reap() == 1
    assert reaper.reap() == 0
    assert reaper.reap(age_minutes=10) == 1
