"""What the network answers, and what is believed of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from app import extensions
from app.bitcoin.transactions import Transaction
from app.clients.circuit import Circuit
from app.domain.states import RecordStatus, TransactionStatus, UtxoStatus
from app.models.record import AuthenticationRecord
from app.models.setting import FEE_PER_KB, Setting
from app.models.transaction import ChainTransaction, VersionField
from app.models.utxo import Utxo
from app.services import anchoring, delivery, pool_split, raising, settlement
from tests.integration.clients.scripted_server import ScriptedServer, json_reply
from tests.integration.services.crashes import POINTS, CrashPoint, crashing
from tests.integration.services.invariants import (
    check_at_rest,
    check_confirmed_once,
    check_invariants,
)
from tests.integration.services.lab import COIN_SATOSHIS, Lab

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


def change_of(version: VersionField) -> int:
    return sum(each.satoshis for each in version.outputs)


def test_m9_a_fee_that_is_too_low_is_raised_on_the_same_coins_until_it_is_taken(lab: Lab) -> None:
    """The cheap one is valid: somebody may mine it, and then a second anchor must be impossible."""
    lab.fill_pool(5)
    [record] = lab.register_many(1)
    # The chain wants 50; each try pays half as much again as the one before.
    Setting.put(FEE_PER_KB, 10)

    assert anchoring.anchor_due(100).settled == 1

    accepted = lab.transaction_of(record)
    assert [t.id for t in lab.transactions_of(record.id)] == [accepted.id]
    assert 50 <= accepted.fee_satoshis * 1000 / accepted.size_bytes < 75
    assert (accepted.refusals, len(accepted.earlier)) == (4, 4)
    versions = [accepted.version, *accepted.earlier]
    assert len({version.txid for version in versions}) == 5
    for version in versions:
        parsed = Transaction.from_bytes(bytes(version.raw_tx))
        assert parsed.txid == version.txid
        assert [str(i.outpoint) for i in parsed.inputs] == [i.outpoint for i in accepted.inputs]
        assert version.fee_satoshis + change_of(version) == COIN_SATOSHIS
    assert lab.reload(record).head == accepted.txid
    check_confirmed_once(lab, [record])


def test_m9_of_two_versions_the_one_that_the_network_has_is_settled(lab: Lab) -> None:
    """A refusal for the fee was a lie, or another node wanted less: the cheap one is there."""
    lab.configure(MAX_ANCHOR_ATTEMPTS="2")
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    lab.set_faults({"kind": "status", "status": 503, "path": BROADCAST})
    anchoring.anchor_due(100)
    cheap = lab.transaction_of(record)
    [raised] = raising.raise_fees([cheap], {cheap.txid: "too low"})
    assert lab.reload(record).head == raised.txid
    lab.clear_faults()
    lab.broadcast(cheap)

    lab.sweep_once()

    accepted = lab.transaction_of(record)
    assert (accepted.txid, accepted.status) == (cheap.txid, TransactionStatus.ACCEPTED)
    assert [each.txid for each in accepted.earlier] == [raised.txid]
    assert lab.reload(record).head == cheap.txid
    lab.mine()
    lab.sweep_until_quiet()
    check_confirmed_once(lab, [record])


def test_m9_of_two_versions_the_mined_one_is_found_by_what_it_spent(lab: Lab) -> None:
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    lab.set_faults({"kind": "status", "status": 503, "path": BROADCAST})
    anchoring.anchor_due(100)
    cheap = lab.transaction_of(record)
    raising.raise_fees([cheap], {cheap.txid: "too low"})
    lab.broadcast(cheap)
    lab.clear_faults()
    lab.broadcast(cheap)
    lab.mine()

    delivery.deliver([lab.transaction_of(record)])

    assert lab.transaction_of(record).txid == cheap.txid
    lab.sweep_until_quiet()
    check_confirmed_once(lab, [record])


def test_m1_acceptance_of_bytes_that_were_replaced_meanwhile_settles_no_others(lab: Lab) -> None:
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    lab.set_faults({"kind": "status", "status": 503, "path": BROADCAST})
    anchoring.anchor_due(100)
    stale = lab.transaction_of(record)
    lab.clear_faults()
    raising.raise_fees([lab.transaction_of(record)], {stale.txid: "too low"})

    # Another worker still has the old bytes in hand, and sends them.
    delivery.deliver([stale])

    assert lab.transaction_of(record).status == TransactionStatus.COMMITTED
    lab.sweep_until_quiet()
    assert lab.transaction_of(record).txid == stale.txid
    check_confirmed_once(lab, [record])


def test_m9_a_crash_between_new_bytes_and_new_name_is_mended(lab: Lab) -> None:
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    Setting.put(FEE_PER_KB, 10)

    with crashing(CrashPoint(ChainTransaction, "replace_bytes")):
        anchoring.anchor_due(100)

    assert lab.reload(record).txid != lab.transaction_of(record).txid
    check_invariants()
    lab.sweep_until_quiet()
    check_confirmed_once(lab, [record])


def test_a_raised_fee_stops_at_the_cap_and_the_record_fails(lab: Lab) -> None:
    lab.configure(FEE_PER_KB_MAX="20")
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    Setting.put(FEE_PER_KB, 10)

    lab.sweep_until_quiet()

    assert lab.reload(record).status == RecordStatus.FAILED
    [dead] = lab.transactions_of(record.id)
    assert dead.status == TransactionStatus.REJECTED
    assert dead.is_given_up
    assert dead.fee_satoshis * 1000 / dead.size_bytes < 22
    # Somebody may mine it yet, so its coin waits until a sync has seen that it is unspent.
    assert Utxo.objects.get().status == UtxoStatus.UNCONFIRMED
    check_at_rest(lab)


def test_without_a_signer_a_fee_is_raised_later(lab: Lab) -> None:
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    Setting.put(FEE_PER_KB, 10)
    with crashing(POINTS["first broadcast"]):
        anchoring.anchor_due(100)
    lab.devnet.kill("signer")
    try:
        lab.sweep_once()
        waiting = lab.transaction_of(record)
        assert (waiting.status, waiting.refusals) == (TransactionStatus.COMMITTED, 1)
        assert waiting.earlier == []
    finally:
        lab.devnet.start("signer")
    lab.configure(MAX_ANCHOR_ATTEMPTS="10")
    lab.sweep_until_quiet()

    check_confirmed_once(lab, [record])


def test_a_split_refused_for_its_fee_pays_more_on_the_same_coin(lab: Lab) -> None:
    lab.configure(UTXO_SPLIT_SIZE_SATS="2000")
    lab.fill_pool(1, satoshis=20_000)
    Setting.put(FEE_PER_KB, 30)

    report = pool_split.split(target=6)

    assert report.is_accepted
    [split] = ChainTransaction.objects
    assert split.earlier
    assert report.transactions[0].txid == split.txid
    check_at_rest(lab)


def test_d6_a_record_out_of_tries_fails_with_its_reason_and_frees_its_uid(lab: Lab) -> None:
    lab.configure(MAX_ANCHOR_ATTEMPTS="3")
    lab.fill_pool(2)
    record = lab.register("NFC-1").record
    Setting.put(FEE_PER_KB, 10)

    lab.sweep_until_quiet()

    failed = lab.reload(record)
    assert failed.status == RecordStatus.FAILED
    assert "fee" in failed.reason
    assert failed.active_key is None
    [dead] = ChainTransaction.objects(status=TransactionStatus.REJECTED.value)
    assert len(dead.earlier) == 2
    Setting.put(FEE_PER_KB, 100)
    again = lab.register("NFC-1").record
    lab.sweep_until_quiet()
    assert lab.reload(again).status == RecordStatus.CONFIRMED
    check_at_rest(lab)


def test_m9_invalid_is_a_claim_and_no_second_transaction_is_made_on_it(lab: Lab) -> None:
    lab.fill_pool(3)
    [record] = lab.register_many(1)
    problem = {"title": "Invalid outputs", "status": 464, "txid": None, "extraInfo": "dust"}
    with closing(ScriptedServer()) as refusing:
        refusing.prepare(json_reply(problem, 464))
        lab.configure(BROADCASTERS="arc", ARC_URL=refusing.url)
        lab.sweep_once()

    waiting = lab.transaction_of(record)
    assert (waiting.status, waiting.refusals) == (TransactionStatus.COMMITTED, 1)
    assert waiting.reason.endswith("dust")
    lab.configure()
    lab.sweep_until_quiet()
    assert [t.id for t in lab.transactions_of(record.id)] == [waiting.id]
    check_confirmed_once(lab, [record])


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
    assert ChainTransaction.reject(transaction.id, reason="late", conflicts={}) is None
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
    lab.fill_pool(1)
    lab.register_many(1)
    lab.spend_coin_outside(Utxo.objects.get())
    lab.mine()
    anchoring.anchor_due(100)
    [transaction] = ChainTransaction.objects
    before = snapshot(lab)

    settlement.accept([transaction])
    assert ChainTransaction.reject(transaction.id, reason="late", conflicts={}) is None

    assert snapshot(lab) == before
    assert AuthenticationRecord.objects.get().status == RecordStatus.PENDING
