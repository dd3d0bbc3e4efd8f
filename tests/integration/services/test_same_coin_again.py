"""The same coin, record and fee make the same bytes again: an attempt's end must not forbid it."""

from __future__ import annotations

import pytest

from app.domain.clock import utc_now
from app.domain.states import RecordStatus, TransactionStatus, UtxoStatus
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, pool_split, pool_sync, sweeper
from tests.integration.services.crashes import POINTS, crashing
from tests.integration.services.invariants import check_confirmed_once
from tests.integration.services.lab import Lab


@pytest.mark.parametrize("payload", ["commitment", "record"])
def test_m9_an_abandoned_transaction_does_not_stand_in_its_twins_way(
    lab: Lab, payload: str
) -> None:
    lab.configure(ONCHAIN_PAYLOAD=payload)
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    with crashing(POINTS["persist"]):
        anchoring.anchor_due(100)
    lab.pass_time()
    # A reaper that has looked before the transaction was stored frees its coin.
    [coin] = Utxo.objects(status=UtxoStatus.LOCKED.value)
    assert Utxo.release_expired(coin.outpoint, coin.lock_id, utc_now())

    report = sweeper.sweep()

    assert (report.committed, report.anchored) == (1, 1)
    [abandoned] = ChainTransaction.objects(status=TransactionStatus.ABANDONED.value)
    assert abandoned.dead_txid == lab.transaction_of(record).txid
    check_confirmed_once(lab, [record])


def test_m9_a_record_that_is_sent_anew_takes_the_coin_of_the_one_that_was_given_up(
    lab: Lab,
) -> None:
    """Whichever of the two is mined, the other can't be: they spend the same coin."""
    lab.configure(MAX_ANCHOR_ATTEMPTS="1", FEE_PER_KB="10")
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    anchoring.anchor_due(100)
    assert lab.reload(record).status == RecordStatus.FAILED
    lab.configure()
    lab.mine()
    pool_sync.sync()

    [again] = lab.register_many(1)
    lab.sweep_until_quiet()

    [dead] = ChainTransaction.objects(status=TransactionStatus.REJECTED.value)
    assert dead.inputs == lab.transaction_of(again).inputs
    check_confirmed_once(lab, [again])


def test_a_split_that_was_abandoned_can_be_made_again(lab: Lab) -> None:
    lab.configure(UTXO_SPLIT_SIZE_SATS="2000")
    lab.fill_pool(1, satoshis=20_000)
    with crashing(POINTS["persist"]):
        pool_split.split(target=6)
    lab.pass_time()
    [coin] = Utxo.objects(status=UtxoStatus.LOCKED.value)
    assert Utxo.release_expired(coin.outpoint, coin.lock_id, utc_now())
    sweeper.sweep()

    result = pool_split.split(target=6)

    assert result.is_accepted
    assert pool_split.plan(target=6).outputs == 0
