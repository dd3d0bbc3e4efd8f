"""Coins that can't be spent must not stand in the way of those that can."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import p2pkh_locking_script
from app.domain.states import RecordStatus, UtxoStatus
from app.models.record import AuthenticationRecord
from app.models.utxo import Utxo
from app.services import anchoring, pool_sync, reaper
from tests.integration.services.invariants import check_confirmed_once
from tests.integration.services.lab import Lab


def test_a_coin_of_another_key_does_not_stop_the_others(lab: Lab) -> None:
    lab.fill_pool(3)
    foreign = PrivateKey.generate().public_key.hash160()
    spoilt = Utxo.objects.first()
    lab.collection("utxos").update_one(
        {"_id": spoilt.outpoint},
        {"$set": {"locking_script": p2pkh_locking_script(foreign).hex(), "satoshis": 9_999_999}},
    )
    records = lab.register_many(2)
    # A batch that draws it is given back whole, but not the coin, until the lease is over.
    for _ in range(2):
        anchoring.anchor_due(100)
        lab.pass_time(30)

    statuses = {lab.reload(record).status for record in records}
    assert statuses == {RecordStatus.CONFIRMED}
    spoilt.reload()
    assert spoilt.status in (UtxoStatus.LOCKED, UtxoStatus.AVAILABLE)
    lab.pass_time()
    reaper.reap()
    spoilt.reload()
    assert spoilt.status == UtxoStatus.AVAILABLE


def test_a_coin_of_another_amount_is_set_aside_after_one_try(lab: Lab) -> None:
    lab.fill_pool(2)
    spoilt = Utxo.objects.first()
    lab.collection("utxos").update_one({"_id": spoilt.outpoint}, {"$inc": {"satoshis": 1}})
    records = lab.register_many(2)

    lab.sweep_until_quiet()

    spoilt.reload()
    assert spoilt.status == UtxoStatus.UNCONFIRMED
    check_confirmed_once_by_the_chain(lab, records)
    # The chain lists it with its true amount: a sync warns and leaves it where it is.
    pool_sync.sync()
    spoilt.reload()
    assert spoilt.status == UtxoStatus.UNCONFIRMED


def check_confirmed_once_by_the_chain(lab: Lab, records: Sequence[AuthenticationRecord]) -> None:
    """The usual check compares amounts too, and one of them is wrong here."""
    for record in records:
        reloaded = lab.reload(record)
        assert reloaded.status == RecordStatus.CONFIRMED
        assert lab.transaction_of(reloaded).txid in lab.chain_transactions()


def test_a_record_that_cannot_be_written_down_fails_alone(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.fill_pool(2)
    good, bad = lab.register_many(2)
    # No schema lets it in: an integer that canonical JSON can't carry.
    lab.collection("authentication_records").update_one({"_id": bad.id}, {"$set": {"ts": 2**60}})

    anchoring.anchor_due(100)

    failed = lab.reload(bad)
    assert failed.status == RecordStatus.FAILED
    assert failed.active_key is None
    assert "not representable" in failed.reason
    check_confirmed_once(lab, [good])
