"""Nothing is wrong with what the services leave, at rest and wherever a process dies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event

import pytest

from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, invariants, pool_split, sweeper, tracker
from app.services.invariants import Report
from tests.integration.services.crashes import POINTS, UNWINDING_POINTS, crashing
from tests.integration.services.lab import Lab, Owner


def check() -> Report:
    return invariants.check(pause_seconds=0)


def test_an_empty_system_is_whole(lab: Lab) -> None:
    report = check()

    assert report.is_clean
    assert set(report.checked) == set(invariants.RULES)


@pytest.mark.parametrize("payload", ["commitment", "record"])
def test_a_life_with_everything_in_it_is_whole(lab: Lab, payload: str) -> None:
    lab.configure(
        ONCHAIN_PAYLOAD=payload,
        UTXO_SPLIT_SIZE_SATS="2500",
        UTXO_MIN_POOL="3",
        SPLIT_COOLDOWN_MS="0",
    )
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
    lab.mine(7)
    for _ in range(2):
        lab.pass_time()
        tracker.track()
    assert ChainTransaction.objects(status="final").count() > 3
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


def test_work_that_goes_on_raises_no_false_alarm(lab: Lab) -> None:
    lab.fill_pool(8)
    stop = Event()

    def work() -> None:
        for number in count():
            if stop.is_set():
                return
            owner = Owner()
            uid = f"NFC-{number}"
            head = lab.registered(uid, owner).head
            lab.transfer(head, owner, Owner(), uid)
            anchoring.anchor_due(100)

    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(work)
        reports = [invariants.check() for _ in range(3)]
        stop.set()
        working.result()

    assert AuthenticationRecord.objects(status="confirmed").count() > 1
    assert [report.violations for report in reports] == [(), (), ()]
