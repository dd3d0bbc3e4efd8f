"""A process dies anywhere on the way, and what it leaves is brought to its end by others."""

from __future__ import annotations

import pytest

from app.domain.states import RecordStatus, TransactionStatus, UtxoStatus
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, pool_split, reaper, sweeper
from tests.integration.services.crashes import POINTS, UNWINDING_POINTS, crashing
from tests.integration.services.invariants import check_at_rest, check_confirmed_once
from tests.integration.services.lab import Lab, Owner

RECORDS = 4
# Where another process may come to commit what the dead one has signed.
SIGNED = ("persist", "half of hold", "hold", "half of commit_each", "commit_each")
IN_THE_SWEEPER = (
    "half of lock",
    "endorse",
    "half of persist",
    "hold",
    "half of commit_each",
    "half of committed",
    "third broadcast",
    "half of accepted",
    "half of add_all",
    "half of advance_each",
    "half of settle_each",
)


@pytest.mark.parametrize("point", POINTS)
def test_m1_d8_a_crash_costs_time_and_nothing_else(lab: Lab, point: str) -> None:
    lab.fill_pool(RECORDS)
    records = lab.register_many(RECORDS)
    before = lab.accepted_count()

    with crashing(POINTS[point]):
        anchoring.anchor_due(100)
    lab.sweep_until_quiet()

    check_confirmed_once(lab, records)
    assert lab.accepted_count() == before + RECORDS


@pytest.mark.parametrize("point", SIGNED)
def test_m1_what_was_signed_is_committed_where_its_coins_are_still_locked(
    lab: Lab, point: str
) -> None:
    lab.fill_pool(RECORDS)
    records = lab.register_many(RECORDS)
    with crashing(POINTS[point]):
        anchoring.anchor_due(100)

    # The sweeper comes before the reaper.
    lab.pass_time()
    assert sweeper.sweep().committed == RECORDS

    assert ChainTransaction.objects.count() == RECORDS
    check_confirmed_once(lab, records)


@pytest.mark.parametrize("point", ["persist", "commit_each", "first broadcast", "advance_each"])
def test_f2_a_crash_during_a_transfer_costs_time_and_nothing_else(lab: Lab, point: str) -> None:
    lab.fill_pool(2)
    owner, buyer = Owner(), Owner()
    registered = lab.registered("NFC-1", owner)
    transferred = lab.transfer(registered.head, owner, buyer, "NFC-1").record

    with crashing(POINTS[point]):
        anchoring.anchor_due(100)
    lab.sweep_until_quiet()

    check_confirmed_once(lab, [registered, transferred])


@pytest.mark.parametrize("point", IN_THE_SWEEPER)
def test_a_crash_in_the_sweeper_is_swept_up_too(lab: Lab, point: str) -> None:
    lab.fill_pool(RECORDS)
    records = lab.register_many(RECORDS)
    with crashing(POINTS["half of persist"]):
        anchoring.anchor_due(100)
    lab.pass_time()

    with crashing(POINTS[point]):
        sweeper.sweep()
        reaper.reap()
        lab.pass_time()
        sweeper.sweep()
    lab.sweep_until_quiet()

    check_confirmed_once(lab, records)


@pytest.mark.parametrize("point", UNWINDING_POINTS)
def test_a_crash_while_a_rejected_transaction_is_undone(lab: Lab, point: str) -> None:
    lab.fill_pool(1)
    lab.register_many(1)
    coin = Utxo.objects.get()
    lab.spend_coin_outside(coin)
    lab.mine()

    with crashing(UNWINDING_POINTS[point]):
        anchoring.anchor_due(100)
    lab.pass_time()
    sweeper.sweep()

    coin.reload()
    assert coin.status == UtxoStatus.SPENT
    [dead] = ChainTransaction.objects(status=TransactionStatus.REJECTED.value)
    assert dead.next_attempt_at is None
    lab.fill_pool(1)
    lab.sweep_until_quiet()
    check_at_rest(lab)


@pytest.mark.parametrize("point", ["lock_each", "persist", "hold", "first broadcast", "add_all"])
def test_f5_a_split_that_dies_loses_no_output(lab: Lab, point: str) -> None:
    lab.configure(UTXO_SPLIT_SIZE_SATS="2000")
    lab.fill_pool(1, satoshis=20_000)

    with crashing(POINTS[point]):
        pool_split.split(target=6)
    lab.sweep_until_quiet()

    check_at_rest(lab)


def test_two_crashes_in_a_row(lab: Lab) -> None:
    lab.fill_pool(RECORDS)
    records = lab.register_many(RECORDS)

    with crashing(POINTS["half of hold"]):
        anchoring.anchor_due(100)
    assert {lab.reload(record).status for record in records} == {RecordStatus.PENDING.value}
    lab.pass_time()
    with crashing(POINTS["half of commit_each"]):
        sweeper.sweep()
    lab.sweep_until_quiet()

    check_confirmed_once(lab, records)
