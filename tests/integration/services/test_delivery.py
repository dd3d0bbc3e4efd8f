"""What the network answers, and what is believed of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app import extensions
from app.clients.circuit import Circuit
from app.domain.states import RecordStatus, TransactionStatus, UtxoStatus
from app.models.record import AuthenticationRecord
from app.models.setting import FEE_PER_KB, Setting
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, delivery, settlement
from tests.integration.services.invariants import check_at_rest, check_confirmed_once
from tests.integration.services.lab import Lab

BROADCAST = "/tx/raw"
UNDECIDED: dict[str, dict[str, Any]] = {
    "cut_before": {"kind": "cut_before"},
    "429": {"kind": "status", "status": 429, "retry_after": 7},
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "garbage": {"kind": "garbage"},
    "false_missing_inputs": {"kind": "false_missing_inputs"},
    "silence": {"kind": "delay", "seconds": 1.5},
}


@pytest.mark.parametrize("weather", UNDECIDED)
def test_m5_an_answer_that_proves_nothing_changes_nothing(lab: Lab, weather: str) -> None:
    lab.configure(WOC_TIMEOUT_MS="700")
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    before = lab.accepted_count()
    lab.set_faults({**UNDECIDED[weather], "path": BROADCAST})

    assert anchoring.anchor_due(100).settled == 0

    transaction = lab.transaction_of(record)
    assert transaction.status == TransactionStatus.COMMITTED
    assert transaction.attempts == 1
    assert transaction.reason
    assert lab.reload(record).status == RecordStatus.ANCHORING
    assert Utxo.objects(held=True, lock_id=transaction.id).count() == 1
    lab.clear_faults()
    lab.sweep_until_quiet()
    check_confirmed_once(lab, [record])
    assert lab.accepted_count() == before + 1


def test_held_back_by_an_open_circuit_is_no_try_and_what_arrived_is_settled_all_the_same(
    lab: Lab,
) -> None:
    lab.configure(CIRCUIT_FAILURES="1", CIRCUIT_SECONDS="600")
    lab.fill_pool(2)
    sent, held_back = lab.register_many(2)
    lab.set_faults({"kind": "cut_before", "path": BROADCAST})
    anchoring.anchor_due(100)
    tries = sorted(lab.transaction_of(record).attempts for record in (sent, held_back))
    assert tries == [0, 1]
    lab.clear_faults()
    [arrived] = ChainTransaction.objects(attempts=1)
    lab.broadcast(arrived)

    lab.pass_time()
    lab.sweep_once()

    # The broadcaster is still left alone, but the chain says that it has the first.
    statuses = {lab.reload(record).status for record in (sent, held_back)}
    assert statuses == {RecordStatus.CONFIRMED, RecordStatus.ANCHORING}
    Circuit("whatsonchain", extensions.get().redis).succeed()
    lab.sweep_until_quiet()
    check_confirmed_once(lab, [sent, held_back])


def test_at_a_pace_the_first_are_settled_before_the_last_go_out(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.configure(WOC_REQUESTS_PER_SECOND="10")
    lab.fill_pool(31)
    lab.register_many(31)
    settled_before: list[int] = []
    send = delivery.send

    def counting(transactions: Sequence[ChainTransaction]) -> Any:
        settled_before.append(ChainTransaction.objects(settled_at__ne=None).count())
        return send(transactions)

    monkeypatch.setattr(delivery, "send", counting)

    assert anchoring.anchor_due(100).settled == 31

    assert settled_before == [0, 30]


def test_m6_a_lost_answer_is_asked_for_at_once_and_opens_no_circuit(lab: Lab) -> None:
    lab.configure(CIRCUIT_FAILURES="3", CIRCUIT_SECONDS="600")
    lab.fill_pool(10)
    records = lab.register_many(10)
    before = lab.accepted_count()
    lab.set_faults({"kind": "cut_after", "path": BROADCAST})

    assert anchoring.anchor_due(100).settled == 10

    assert lab.accepted_count() == before + 10
    assert extensions.get().broadcaster.circuit_states()["whatsonchain"].position == "closed"
    check_confirmed_once(lab, records)


def test_m6_with_every_answer_cut_after_acceptance_each_record_has_one_transaction(
    lab: Lab,
) -> None:
    lab.fill_pool(10)
    records = lab.register_many(10)
    before = lab.accepted_count()
    lab.set_faults({"kind": "cut_after", "path": BROADCAST})

    for _ in range(3):
        lab.sweep_once()
    lab.clear_faults()
    lab.sweep_until_quiet()

    check_confirmed_once(lab, records)
    assert lab.accepted_count() == before + 10


def test_the_pause_after_429_is_the_one_that_was_asked_for(lab: Lab) -> None:
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    lab.set_faults({"kind": "status", "status": 429, "retry_after": 90, "path": BROADCAST})

    anchoring.anchor_due(100)

    transaction = lab.transaction_of(record)
    pause = (transaction.next_attempt_at - transaction.updated_at).total_seconds()
    assert 85 <= pause <= 95


def test_pauses_grow_and_the_bytes_stay(lab: Lab) -> None:
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    lab.set_faults({"kind": "status", "status": 500, "path": BROADCAST})
    anchoring.anchor_due(100)
    first = lab.transaction_of(record)

    for _ in range(6):
        delivery.deliver([lab.transaction_of(record)])

    again = lab.transaction_of(record)
    assert again.attempts == 7
    assert again.raw_tx == first.raw_tx
    assert (again.next_attempt_at - first.next_attempt_at).total_seconds() > 30


def test_m1_a_false_refusal_of_an_accepted_transaction_is_settled(lab: Lab) -> None:
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    lab.set_faults({"kind": "accept_then_missing_inputs", "path": BROADCAST})

    assert anchoring.anchor_due(100).settled == 1

    check_confirmed_once(lab, [record])


def test_m9_missing_inputs_for_our_own_spent_transaction_mined_long_ago_is_settled(
    lab: Lab,
) -> None:
    """A node has forgotten a transaction whose outputs are all spent, and calls it missing."""
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    lab.set_faults({"kind": "cut_after", "path": BROADCAST, "times": 1})
    anchoring.anchor_due(100)
    transaction = lab.transaction_of(record)
    lab.mine()
    thief = lab.spend_output_outside(transaction, 1)
    lab.mine()
    refusal = extensions.get().chain.broadcast(transaction.raw_tx_hex, transaction.txid)
    assert refusal.status == "missing_inputs"

    lab.sweep_once()

    assert lab.reload(record).status == RecordStatus.CONFIRMED
    assert lab.transaction_of(record).status == TransactionStatus.ACCEPTED
    assert thief in lab.chain_transactions()


def test_a_double_spend_in_the_mempool_waits(lab: Lab) -> None:
    lab.fill_pool(1)
    coin = Utxo.objects.get()
    [record] = lab.register_many(1)
    lab.spend_coin_outside(coin)

    anchoring.anchor_due(100)

    transaction = lab.transaction_of(record)
    assert transaction.status == TransactionStatus.COMMITTED
    coin.reload()
    assert (coin.status, coin.held) == (UtxoStatus.LOCKED, True)
    lab.control("evict", {"txids": None})
    lab.sweep_until_quiet()
    check_confirmed_once(lab, [record])


def test_m3_a_mined_double_spend_costs_the_coin_and_the_record_takes_another(lab: Lab) -> None:
    lab.fill_pool(1)
    stolen = Utxo.objects.get()
    [record] = lab.register_many(1)
    thief = lab.spend_coin_outside(stolen)
    lab.mine()

    anchoring.anchor_due(100)

    stolen.reload()
    assert (stolen.status, stolen.spent_txid) == (UtxoStatus.SPENT, thief)
    waiting = lab.reload(record)
    assert (waiting.status, waiting.attempts) == (RecordStatus.PENDING, 1)
    assert waiting.transaction_id is None
    assert waiting.head is None
    lab.fill_pool(1)
    lab.sweep_until_quiet()
    check_confirmed_once(lab, [record])


def test_of_several_inputs_only_the_stolen_one_is_lost(lab: Lab) -> None:
    lab.fill_pool(6, satoshis=45)
    [record] = lab.register_many(1)
    lab.set_faults({"kind": "cut_before", "path": BROADCAST})
    anchoring.anchor_due(100)
    transaction = lab.transaction_of(record)
    assert len(transaction.inputs) > 1
    lab.clear_faults()
    stolen = Utxo.objects.get(outpoint=transaction.inputs[0].outpoint)
    others = [each.outpoint for each in transaction.inputs[1:]]
    lab.spend_coin_outside(stolen)
    lab.mine()

    delivery.deliver([transaction])

    stolen.reload()
    assert stolen.status == UtxoStatus.SPENT
    free = Utxo.objects(outpoint__in=others, status=UtxoStatus.AVAILABLE.value)
    assert free.count() == len(others)


def test_a_fee_that_is_too_low_frees_everything_and_the_right_one_is_taken(lab: Lab) -> None:
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    Setting.put(FEE_PER_KB, 10)

    anchoring.anchor_due(100)

    waiting = lab.reload(record)
    assert waiting.status == RecordStatus.PENDING
    assert "fee" in waiting.reason
    assert Utxo.objects(status=UtxoStatus.AVAILABLE.value).count() == 2
    [rejected] = ChainTransaction.objects(status=TransactionStatus.REJECTED.value)
    assert rejected.next_attempt_at is None
    Setting.put(FEE_PER_KB, 100)
    lab.sweep_until_quiet()
    check_confirmed_once(lab, [record])


def test_a_record_refused_for_its_fee_pays_more_each_time_until_it_is_taken(lab: Lab) -> None:
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    # The chain wants 50; each try pays half as much again as the one before.
    Setting.put(FEE_PER_KB, 10)

    lab.sweep_until_quiet()

    check_confirmed_once(lab, [record])
    accepted = lab.transaction_of(lab.reload(record))
    assert 50 <= accepted.fee_satoshis * 1000 / accepted.size_bytes < 75
    assert ChainTransaction.objects(status=TransactionStatus.REJECTED.value).count() == 4


def test_a_raised_fee_stops_at_the_cap(lab: Lab) -> None:
    lab.configure(FEE_PER_KB_MAX="20")
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    Setting.put(FEE_PER_KB, 10)

    lab.sweep_until_quiet()

    assert lab.reload(record).status == RecordStatus.FAILED
    dead = ChainTransaction.objects(status=TransactionStatus.REJECTED.value)
    assert max(t.fee_satoshis * 1000 / t.size_bytes for t in dead) < 22
    check_at_rest(lab)


def test_d6_a_record_out_of_tries_fails_with_its_reason_and_frees_its_uid(lab: Lab) -> None:
    lab.configure(MAX_ANCHOR_ATTEMPTS="3")
    lab.fill_pool(1)
    record = lab.register("NFC-1").record
    Setting.put(FEE_PER_KB, 10)

    lab.sweep_until_quiet()

    failed = lab.reload(record)
    assert (failed.status, failed.attempts) == (RecordStatus.FAILED, 3)
    assert "fee" in failed.reason
    assert failed.active_key is None
    assert ChainTransaction.objects(status=TransactionStatus.REJECTED.value).count() == 3
    Setting.put(FEE_PER_KB, 100)
    again = lab.register("NFC-1").record
    lab.sweep_until_quiet()
    assert lab.reload(again).status == RecordStatus.CONFIRMED
    check_at_rest(lab)


def test_one_that_is_refused_does_not_hold_up_the_others(lab: Lab) -> None:
    lab.fill_pool(3)
    stolen = Utxo.objects.first()
    records = lab.register_many(3)
    lab.spend_coin_outside(stolen)
    lab.mine()

    assert anchoring.anchor_due(100).settled == 2

    lab.fill_pool(1)
    lab.sweep_until_quiet()
    check_confirmed_once(lab, records)


def snapshot(lab: Lab) -> dict[str, list[dict[str, Any]]]:
    """Every document, but for when it was last touched."""
    names = ("authentication_records", "transactions", "utxos", "patch_states")
    return {
        name: [
            {k: v for k, v in row.items() if k not in ("updated_at", "next_attempt_at")}
            for row in lab.collection(name).find().sort("_id", 1)
        ]
        for name in names
    }


def test_late_verdicts_after_acceptance_change_nothing(lab: Lab) -> None:
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    anchoring.anchor_due(100)
    [transaction] = ChainTransaction.objects
    before = snapshot(lab)

    settlement.accept([transaction])
    settlement.settle([transaction])
    assert (
        ChainTransaction.reject(transaction.id, reason="late", conflicts={}, is_underpaid=False)
        is None
    )
    assert not ChainTransaction.postpone(
        transaction.id,
        status=TransactionStatus.COMMITTED.value,
        next_attempt_at=transaction.created_at,
        reason="late",
        is_try=True,
    )
    delivery.deliver([transaction])

    assert snapshot(lab) == before
    check_confirmed_once(lab, [record])


def test_late_verdicts_after_rejection_change_nothing(lab: Lab) -> None:
    lab.fill_pool(2)
    lab.register_many(1)
    Setting.put(FEE_PER_KB, 10)
    anchoring.anchor_due(100)
    [transaction] = ChainTransaction.objects
    before = snapshot(lab)

    settlement.accept([transaction])
    assert (
        ChainTransaction.reject(transaction.id, reason="late", conflicts={}, is_underpaid=False)
        is None
    )

    assert snapshot(lab) == before
    assert AuthenticationRecord.objects.get().status == RecordStatus.PENDING
