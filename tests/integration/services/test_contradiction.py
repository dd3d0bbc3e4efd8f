"""An accepted transaction of ours loses to one that somebody else had mined with the same key."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from app.domain.clock import utc_now
from app.domain.states import RecordStatus, TransactionStatus, UtxoStatus
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import (
    anchoring,
    contradiction,
    history,
    invariants,
    jobs,
    pool_split,
    pool_sync,
    raising,
    sweeper,
    tracker,
    verification,
)
from tests.integration.services.crashes import CrashPoint, crashing
from tests.integration.services.invariants import anchors_of, check_at_rest, check_confirmed_once
from tests.integration.services.lab import Lab, Owner

DEEP = 6


def rob(lab: Lab, transaction: ChainTransaction, vin: int = 0) -> str:
    """The mempools drop a transaction and all that spends it; a rival is mined in its place."""
    coin = Utxo.objects.get(outpoint=transaction.inputs[vin].outpoint)
    lab.control("evict", {"txids": [transaction.txid]})
    rival = lab.spend_coin_outside(coin)
    lab.mine()
    return rival


def track(lab: Lab) -> None:
    lab.pass_time()
    tracker.track()


def bury(lab: Lab) -> None:
    """The rival gets as deep as what is final, and the tracker looks."""
    lab.mine(DEEP - 1)
    track(lab)


def settle_down(lab: Lab) -> None:
    lab.fill_pool(2)
    lab.sweep_until_quiet()
    lab.mine()
    track(lab)
    pool_sync.sync()


def test_p2_a_registration_that_lost_is_anchored_anew_once_the_rival_is_deep(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.fill_pool(1)
    record = lab.registered("NFC-1", Owner())
    lost = lab.transaction_of(record)
    stolen = lost.inputs[0].outpoint
    change = f"{lost.txid}:{lost.outputs[0].vout}"

    rival = rob(lab, lost)
    track(lab)

    # A reorganisation may bring ours back yet: nothing is undone, but everybody is told.
    assert lab.reload(record).status == RecordStatus.CONFIRMED
    contested = lab.transaction_of(record)
    assert contested.status == TransactionStatus.ACCEPTED
    assert contested.reason == f"contested by {rival}, 1 of {DEEP} blocks deep"
    assert Utxo.objects.get(outpoint=change).status == UtxoStatus.UNCONFIRMED
    [stuck] = jobs.list_stuck(limit=10)
    assert (stuck.id, stuck.reason) == (str(lost.id), contested.reason)

    with caplog.at_level(logging.CRITICAL):
        bury(lab)

    assert "transaction contradicted" in caplog.text
    dead = ChainTransaction.objects.get(id=lost.id)
    assert (dead.status, dead.dead_txid) == (TransactionStatus.CONTRADICTED, lost.txid)
    assert dead.next_attempt_at is None
    coin = Utxo.objects.get(outpoint=stolen)
    assert (coin.status, coin.spent_txid) == (UtxoStatus.SPENT, rival)
    assert Utxo.objects.get(outpoint=change).status == UtxoStatus.VOID
    waiting = lab.reload(record)
    assert (waiting.status, waiting.head) == (RecordStatus.PENDING, None)
    assert PatchState.find("NFC-1") is None
    settle_down(lab)
    again = lab.reload(record)
    assert again.head not in (None, lost.txid)
    assert PatchState.find("NFC-1").head == again.head
    assert anchors_of(lab, "NFC-1") == [again.txid]
    assert verification.verify("NFC-1").status == verification.AUTHENTIC
    check_confirmed_once(lab, [record])


def test_m15_while_the_rival_is_not_deep_a_reorganisation_brings_ours_back(lab: Lab) -> None:
    lab.fill_pool(1)
    record = lab.registered("NFC-1", Owner())
    ours = lab.transaction_of(record)
    rival = rob(lab, ours)
    track(lab)

    lab.control("reorg", {"depth": 1, "drop": [rival]})
    track(lab)

    # Sent again, and taken this time.
    back = lab.transaction_of(record)
    assert (back.status, back.reason) == (TransactionStatus.ACCEPTED, None)
    lab.mine()
    track(lab)
    assert lab.transaction_of(record).status == TransactionStatus.MINED
    pool_sync.sync()
    check_confirmed_once(lab, [record])
    assert jobs.list_stuck(limit=10) == []


def test_m7_a_rival_without_a_proof_contradicts_nothing(lab: Lab) -> None:
    lab.fill_pool(1)
    record = lab.registered("NFC-1", Owner())
    rob(lab, lab.transaction_of(record))
    lab.set_faults({"kind": "bad_merkle_path"})

    bury(lab)

    assert lab.transaction_of(record).status == TransactionStatus.ACCEPTED
    assert lab.reload(record).status == RecordStatus.CONFIRMED
    lab.clear_faults()
    track(lab)
    settle_down(lab)
    check_confirmed_once(lab, [record])


def test_a_rival_in_the_mempool_contradicts_nothing(lab: Lab) -> None:
    lab.fill_pool(1)
    record = lab.registered("NFC-1", Owner())
    ours = lab.transaction_of(record)
    coin = Utxo.objects.get(outpoint=ours.inputs[0].outpoint)
    lab.control("evict", {"txids": [ours.txid]})
    rival = lab.spend_coin_outside(coin)

    track(lab)

    assert lab.transaction_of(record).reason is None
    lab.control("evict", {"txids": [rival]})
    track(lab)
    check_confirmed_once(lab, [record])


def test_p3_what_spends_the_change_is_contradicted_too_and_other_coins_come_back(lab: Lab) -> None:
    lab.fill_pool(1)
    records = []
    for number in range(3):
        [record] = lab.register_many(1, prefix=f"chain-{number}")
        assert anchoring.anchor_due(100).settled == 1
        records.append(record)
    lost = [lab.transaction_of(record) for record in records]
    assert lost[2].inputs[0].outpoint.startswith(lost[1].txid)

    rob(lab, lost[0])
    bury(lab)

    assert {t.status for t in ChainTransaction.objects} == {TransactionStatus.CONTRADICTED.value}
    statuses = sorted(Utxo.objects.scalar("status"))
    assert statuses == [UtxoStatus.SPENT, UtxoStatus.VOID, UtxoStatus.VOID, UtxoStatus.VOID]
    settle_down(lab)
    check_confirmed_once(lab, records)


def test_p3_of_several_inputs_those_that_were_not_stolen_come_back(lab: Lab) -> None:
    lab.fill_pool(6, satoshis=45)
    [record] = lab.register_many(1)
    anchoring.anchor_due(100)
    lost = lab.transaction_of(record)
    kept = [each.outpoint for each in lost.inputs[1:]]
    assert kept

    rob(lab, lost)
    bury(lab)

    assert {u.status for u in Utxo.objects(outpoint__in=kept)} == {UtxoStatus.UNCONFIRMED.value}
    pool_sync.sync()
    settle_down(lab)
    check_confirmed_once(lab, [record])


def test_a_split_that_lost_is_struck_out(lab: Lab) -> None:
    lab.configure(UTXO_SPLIT_SIZE_SATS="2000")
    lab.fill_pool(1, satoshis=20_000)
    pool_split.split(target=6)
    [split] = ChainTransaction.objects
    record = lab.register("NFC-1").record
    anchoring.anchor([record])

    rob(lab, split)
    bury(lab)

    assert Utxo.objects(status=UtxoStatus.AVAILABLE.value).count() == 0
    settle_down(lab)
    check_confirmed_once(lab, [record])


def transferred(lab: Lab) -> tuple[AuthenticationRecord, AuthenticationRecord]:
    """A patch that was registered and handed on, each on a coin of its own."""
    owner, buyer = Owner(), Owner()
    lab.fill_pool(2)
    first = lab.registered("NFC-1", owner)
    made = lab.transaction_of(first)
    Utxo.mark_unseen([f"{made.txid}:{output.vout}" for output in made.outputs])
    second = lab.transfer(first.head, owner, buyer, "NFC-1").record
    anchoring.anchor([second])
    return first, lab.reload(second)


def test_p4_a_transfer_that_lost_gives_the_patch_back_and_is_anchored_anew(lab: Lab) -> None:
    owner, buyer = Owner(), Owner()
    lab.fill_pool(2)
    first = lab.registered("NFC-1", owner)
    lab.mine()
    track(lab)
    second = lab.transfer(first.head, owner, buyer, "NFC-1").record
    anchoring.anchor([second])
    lost = lab.transaction_of(second)

    rob(lab, lost)
    bury(lab)

    state = PatchState.find("NFC-1")
    assert (state.head, state.owner, state.record_id) == (first.head, owner.address, first.id)
    settle_down(lab)
    again = lab.reload(second)
    assert again.head != lost.txid
    assert PatchState.find("NFC-1").owner == buyer.address
    assert len(history.list_custody("NFC-1")) == 2
    check_confirmed_once(lab, [first, second])


def test_p4_with_the_registration_a_transfer_that_spends_its_change_falls_and_fails(
    lab: Lab,
) -> None:
    """Its owner signed it over a head that will never exist; the patch can be handed on anew."""
    owner, buyer = Owner(), Owner()
    lab.fill_pool(1)
    first = lab.registered("NFC-1", owner)
    second = lab.transfer(first.head, owner, buyer, "NFC-1").record
    anchoring.anchor([second])
    assert lab.reload(second).status == RecordStatus.CONFIRMED

    rob(lab, lab.transaction_of(first))
    bury(lab)
    settle_down(lab)

    failed = lab.reload(second)
    assert (failed.status, failed.active_key) == (RecordStatus.FAILED, None)
    assert failed.reason == contradiction.GONE
    again = lab.reload(first)
    assert again.status == RecordStatus.CONFIRMED
    assert PatchState.find("NFC-1").head == again.head
    third = lab.transfer(again.head, owner, buyer, "NFC-1").record
    anchoring.anchor([third])
    check_at_rest(lab)


def test_p4_a_pending_transfer_of_a_head_that_is_gone_fails(lab: Lab) -> None:
    owner = Owner()
    lab.fill_pool(1)
    first = lab.registered("NFC-1", owner)
    pending = lab.transfer(first.head, owner, Owner(), "NFC-1").record

    rob(lab, lab.transaction_of(first))
    bury(lab)

    failed = lab.reload(pending)
    assert (failed.status, failed.reason) == (RecordStatus.FAILED, contradiction.GONE)
    settle_down(lab)
    check_confirmed_once(lab, [first])


def test_p4_a_transfer_that_was_accepted_a_moment_late_fails_at_its_anchoring(lab: Lab) -> None:
    """It was checked before the head went, and stored after."""
    owner = Owner()
    lab.fill_pool(2)
    first = lab.registered("NFC-1", owner)
    late = lab.transfer(first.head, owner, Owner(), "NFC-1").record
    row = lab.collection("authentication_records").find_one_and_delete({"_id": late.id})
    rob(lab, lab.transaction_of(first))
    bury(lab)
    lab.collection("authentication_records").insert_one(row)

    settle_down(lab)

    assert lab.reload(late).reason == contradiction.GONE
    check_confirmed_once(lab, [first])


def test_p4_with_a_transfer_on_the_chain_that_continues_it_a_person_decides(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = transferred(lab)
    lost = lab.transaction_of(first)
    assert not lab.transaction_of(second).inputs[0].outpoint.startswith(lost.txid)

    rob(lab, lost)
    with caplog.at_level(logging.CRITICAL):
        bury(lab)

    assert "a person has to decide" in caplog.text
    held = lab.reload(first)
    assert (held.status, held.transaction_id) == (RecordStatus.ANCHORING, lost.id)
    dead = ChainTransaction.objects.get(id=lost.id)
    assert (dead.status, dead.needs_operator) == (TransactionStatus.CONTRADICTED, True)
    assert verification.verify("NFC-1").status == verification.COMPROMISED
    broken = {each.rule: each.ids for each in invariants.check(pause_seconds=0).violations}
    assert broken["contradicted-is-undone"] == (str(lost.id),)
    assert {str(first.id), str(lost.id)} <= {each.id for each in jobs.list_stuck(limit=10)}
    # Neither time nor a replay makes a second anchor of it.
    jobs.replay([str(first.id), str(lost.id)])
    lab.fill_pool(2)
    lab.sweep_until_quiet()
    assert lab.reload(first).status == RecordStatus.ANCHORING
    assert anchors_of(lab, "NFC-1") == [lab.reload(second).txid]


def test_p2_of_two_versions_the_cheap_one_mined_late_is_no_reason_for_a_second_anchor(
    lab: Lab,
) -> None:
    """The dear one was accepted and its head is known to people; a person has to decide."""
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    lab.set_faults({"kind": "status", "status": 503, "path": "/tx/raw"})
    anchoring.anchor_due(100)
    cheap = lab.transaction_of(record)
    [dear] = raising.raise_fees([cheap], {cheap.txid: "too low"})
    lab.clear_faults()
    lab.sweep_once()
    assert lab.reload(record).head == dear.txid
    lab.control("evict", {"txids": [dear.txid]})
    lab.broadcast(cheap)
    lab.mine()

    bury(lab)

    held = lab.transaction_of(record)
    assert (held.status, held.needs_operator) == (TransactionStatus.ACCEPTED, True)
    assert cheap.txid in held.reason
    assert lab.reload(record).status == RecordStatus.CONFIRMED
    assert anchors_of(lab, record.uid_tag_id) == [cheap.txid]
    assert str(held.id) in {each.id for each in jobs.list_stuck(limit=10)}


def test_a_record_of_which_parts_were_erased_is_left_to_a_person(lab: Lab) -> None:
    lab.fill_pool(1)
    record = lab.registered("NFC-1", Owner())
    assert AuthenticationRecord.erase_owners([record]) == 1

    rob(lab, lab.transaction_of(record))
    bury(lab)

    held = lab.reload(record)
    assert held.status == RecordStatus.ANCHORING
    assert ChainTransaction.objects.get(id=held.transaction_id).needs_operator
    assert PatchState.find("NFC-1") is not None


CRASHES: dict[str, CrashPoint] = {
    "contradict_each": CrashPoint(AuthenticationRecord, "contradict_each"),
    "void_each": CrashPoint(Utxo, "void_each"),
    "lose_each": CrashPoint(Utxo, "lose_each"),
    "restore_each": CrashPoint(Utxo, "restore_each"),
    "retreat_each": CrashPoint(PatchState, "retreat_each"),
    "return_contradicted": CrashPoint(AuthenticationRecord, "return_contradicted"),
    "finish_unwinding": CrashPoint(ChainTransaction, "finish_unwinding"),
}


@pytest.mark.parametrize("point", CRASHES)
def test_p1_a_crash_in_the_middle_is_mended_by_the_sweeper(lab: Lab, point: str) -> None:
    lab.fill_pool(1)
    records = [lab.registered("NFC-1", Owner()), lab.registered("NFC-2", Owner())]
    rob(lab, lab.transaction_of(records[0]))
    lab.mine(DEEP - 1)
    lab.pass_time()

    with crashing(CRASHES[point]):
        tracker.track()
    for _ in range(3):
        lab.pass_time()
        sweeper.sweep()

    assert ChainTransaction.objects(next_attempt_at__ne=None).count() == 0
    settle_down(lab)
    check_confirmed_once(lab, records)


def contradict_twice(transaction: ChainTransaction) -> None:
    contradiction.undo(transaction)
    contradiction.undo(transaction)


def mark_settled_again(transaction: ChainTransaction) -> None:
    ChainTransaction.mark_settled([transaction.id], utc_now())


@pytest.mark.parametrize("late", [contradict_twice, mark_settled_again])
def test_late_events_change_nothing(lab: Lab, late: Callable[[ChainTransaction], None]) -> None:
    lab.fill_pool(1)
    record = lab.registered("NFC-1", Owner())
    lost = lab.transaction_of(record)
    rob(lab, lost)
    bury(lab)
    settle_down(lab)
    before = lab.reload(record).head

    late(ChainTransaction.objects.get(id=lost.id))

    assert lab.reload(record).head == before
    check_confirmed_once(lab, [record])
