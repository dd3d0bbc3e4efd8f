"""Nothing is wrong with what the services leave, at rest and wherever a process dies."""

from __future__ import annotations

import pytest

from app.models.utxo import Utxo
from app.services import anchoring, invariants, pool_split, sweeper
from app.services.invariants import Report
from tests.integration.services.crashes import POINTS, UNWINDING_POINTS, crashing
from tests.integration.services.lab import Lab, Owner


def check() -> Report:
    return invariants.check(pause_seconds=0)


def test_an_empty_system_is_whole(lab: Lab) -> None:
    report = check()

    assert report.is_clean
    assert set(report.checked) == set(invariants.RULES)


def test_a_life_with_everything_in_it_is_whole(lab: Lab) -> None:
    lab.configure(UTXO_SPLIT_SIZE_SATS="2500", UTXO_MIN_POOL="3", SPLIT_COOLDOWN_MS="0")
    lab.fill_pool(1, satoshis=50_000)
    pool_split.split(target=5)
    owner, buyer = Owner(), Owner()
    head = lab.registered("NFC-1", owner).head
    transferred = lab.transfer(head, owner, buyer, "NFC-1").record
    lab.register_many(2)

    assert check() == check()
    assert check().is_clean
    lab.sweep_until_quiet()
    lab.transfer(lab.reload(transferred).head, buyer, Owner(), "NFC-1")
    assert check().is_clean


@pytest.mark.parametrize("point", POINTS)
def test_p2_p3_nothing_is_wrong_right_after_a_crash(lab: Lab, point: str) -> None:
    lab.fill_pool(5)
    owner = Owner()
    head = lab.registered("NFC-1", owner).head
    lab.transfer(head, owner, Owner(), "NFC-1")
    lab.register_many(3)

    with crashing(POINTS[point]):
        anchoring.anchor_due(100)

    assert check().is_clean
    lab.pass_time()
    sweeper.sweep()
    assert check().is_clean


@pytest.mark.parametrize("point", UNWINDING_POINTS)
def test_p3_nothing_is_wrong_while_a_rejected_transaction_is_undone(lab: Lab, point: str) -> None:
    lab.fill_pool(1)
    lab.register_many(1)
    lab.spend_coin_outside(Utxo.objects.get())
    lab.mine()

    with crashing(UNWINDING_POINTS[point]):
        anchoring.anchor_due(100)

    # The pool learns of the foreign spend on the way; what is stored agrees at every step.
    assert not invariants.check(ask_chain=False, pause_seconds=0).violations
    lab.pass_time()
    sweeper.sweep()
    assert check().is_clean


def test_m15_a_transaction_that_the_mempools_dropped_is_accounted_for(lab: Lab) -> None:
    lab.fill_pool(3)
    owner = Owner()
    head = lab.registered("NFC-1", owner).head
    lab.transfer(head, owner, Owner(), "NFC-1")
    anchoring.anchor_due(100)

    lab.control("evict", {"txids": None})

    assert check().is_clean
