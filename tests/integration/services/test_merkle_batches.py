"""Many registrations in one transaction: the same life as any other, and a path for each."""

from __future__ import annotations

import logging
from dataclasses import replace
from threading import Barrier, Thread
from typing import Any

import bson
import pytest

from app import extensions
from app.bitcoin.transactions import Transaction
from app.domain.envelope import ChainForm, Envelope, Kind, batch_payload, chain_form
from app.domain.records import RecordKind
from app.domain.states import RecordStatus, TransactionStatus
from app.errors import BatchAbandonedError, LockHeldError, PoolEmptyError, UnavailableError
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import AnchoredField, ChainTransaction, TransactionKind
from app.models.utxo import Utxo
from app.services import (
    anchoring,
    batches,
    commitment,
    fuel_gauge,
    history,
    invariants,
    maintenance,
    pool_split,
    raising,
    settlement,
    sweeper,
    tracker,
    verification,
)
from app.services.batches import BatchReport
from tests.integration.services.crashes import POINTS, CrashPoint, crashing
from tests.integration.services.invariants import check_at_rest, check_confirmed_once
from tests.integration.services.lab import Lab, Owner
from tests.integration.services.test_batches import RoundTrips, round_trips, signing_calls
from tests.integration.services.test_contradiction import bury, rob, settle_down

__all__ = ["round_trips"]


def the_batch() -> ChainTransaction:
    found: ChainTransaction = ChainTransaction.objects.get(kind=TransactionKind.BATCH.value)
    return found


def envelopes_of(transaction: ChainTransaction) -> list[Envelope]:
    outputs = Transaction.from_bytes(bytes(transaction.raw_tx)).outputs
    return [
        Envelope.from_locking_script(output.locking_script)
        for output in outputs
        if output.satoshis == 0
    ]


def check_whole(lab: Lab, records: list[AuthenticationRecord]) -> None:
    """All is confirmed by one transaction, verifies, and is as the invariants want it."""
    check_confirmed_once(lab, records)
    for record in records:
        result = verification.verify(record.uid_tag_id)
        assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])


@pytest.mark.parametrize("count", [1, 2, 7])
def test_f1_one_transaction_carries_all_that_wait(lab: Lab, count: int) -> None:
    lab.fill_pool(1)
    records = lab.register_many(count)

    done = batches.anchor_waiting(count)

    batch = the_batch()
    assert done == BatchReport(batch.txid, count, count)
    [envelope] = envelopes_of(batch)
    place = lab.reload(records[0]).batch.place
    digests = [bytes.fromhex(lab.reload(record).digest) for record in records]
    roots = {lab.reload(r).batch.place.root(d) for r, d in zip(records, digests, strict=True)}
    [root] = roots
    assert (envelope.kind, envelope.payload) == (Kind.BATCH, batch_payload(root, count))
    assert (place.size, chain_form(bytes(batch.raw_tx))) == (count, ChainForm.BATCH_ROOT)
    check_whole(lab, records)


def test_d5_the_proof_lies_outside_of_what_is_hashed(lab: Lab) -> None:
    lab.fill_pool(1)
    [record, _] = lab.register_many(2)
    batches.anchor_waiting()

    stored = lab.reload(record)

    assert stored.head == stored.digest != stored.txid
    # The leaf can be made again from the record itself; `verify` has done it by now.
    result = verification.verify(record.uid_tag_id)
    assert (result.head, result.anchor_txid) == (stored.head, stored.txid)
    assert result.batch is not None
    assert result.batch.merkle_root is not None
    assert "batch" not in str(result.record)
    [event] = history.list_custody(record.uid_tag_id)
    assert (event.txid, event.anchor_txid) == (stored.head, stored.txid)


def test_d3_a_record_at_work_is_not_touched(lab: Lab) -> None:
    lab.fill_pool(3)
    claimed, *waiting = lab.register_many(3)
    with crashing(POINTS["claim"]):
        anchoring.anchor([claimed])
    before = lab.reload(claimed).transaction_id
    with crashing(POINTS["committed"]):
        anchoring.anchor([waiting[0]])

    assert batches.anchor_waiting().processed == 1

    assert lab.reload(claimed).transaction_id == before
    assert lab.reload(waiting[0]).status == RecordStatus.ANCHORING
    lab.sweep_until_quiet()
    check_whole(lab, [claimed, *waiting])


def test_d3_a_request_that_anchors_its_own_record_comes_first(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(1)
    with crashing(CrashPoint(AuthenticationRecord, "insert")):
        lab.register("NFC-1")
    [record] = AuthenticationRecord.objects

    assert batches.anchor_waiting() == BatchReport(None, 0, 0)

    lab.pass_time()
    assert batches.anchor_waiting().updated == 1
    check_whole(lab, [record])


def test_d6_what_has_failed_is_not_anchored(lab: Lab) -> None:
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    AuthenticationRecord.fail_unclaimed(record.id, "given up")

    assert batches.anchor_waiting() == BatchReport(None, 0, 0)


def test_what_waits_for_coins_is_taken_before_its_time(lab: Lab) -> None:
    records = lab.register_many(3)
    assert len(anchoring.anchor_due(100).waiting) == 3
    lab.fill_pool(1)

    assert batches.anchor_waiting().updated == 3

    check_whole(lab, records)


def test_transfers_go_alone(lab: Lab) -> None:
    lab.fill_pool(2)
    owner, heir = Owner(), Owner()
    record = lab.register("NFC-1", owner).record
    batches.anchor_waiting()
    # The head of a record in a batch is what its owner signs over.
    transfer = lab.transfer(lab.reload(record).head, owner, heir, "NFC-1").record

    assert batches.anchor_waiting() == BatchReport(None, 0, 0)

    anchoring.anchor_due(100)
    assert lab.transaction_of(transfer).kind == TransactionKind.TRANSFER
    assert [each.kind for each in history.list_custody("NFC-1")] == list(RecordKind)
    check_whole(lab, [record, transfer])


def test_it_takes_no_more_than_it_is_told(lab: Lab) -> None:
    lab.fill_pool(2)
    records = lab.register_many(5)

    assert [batches.anchor_waiting(3).processed for _ in range(3)] == [3, 2, 0]

    check_whole(lab, records)


def test_a_batch_asks_as_much_for_40_records_as_for_2(
    lab: Lab, round_trips: RoundTrips, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.configure()
    lab.fill_pool(4)
    lab.register_many(1, prefix="warm")
    batches.anchor_waiting()
    counted = {}
    for size in (2, 40):
        lab.register_many(size, prefix=f"size-{size}")
        monkeypatch.setattr(pool_split, "_look_again_at", {})
        round_trips.counts.clear()
        signed_before = signing_calls(lab)
        assert batches.anchor_waiting(100).updated == size
        counted[size] = (dict(round_trips.counts), signing_calls(lab) - signed_before)

    assert counted[40] == counted[2]
    assert counted[40][1] == 2, "one call for the issuer's signatures, one for the input"
    assert sum(counted[40][0].values()) <= 22
    check_at_rest(lab)


def test_the_largest_batch_fits_in_a_document() -> None:
    """A thousand records, each as long as it can be, with bytes that were raised twice."""
    digest = "ab" * 32
    batch = ChainTransaction(
        kind=TransactionKind.BATCH.value,
        txid=digest,
        raw_tx=b"\x00" * 500,
        fee_satoshis=1,
        size_bytes=500,
        records=[
            AnchoredField(
                record_id=bson.ObjectId(),
                kind=RecordKind.REGISTRATION.value,
                uid_tag_id="\U0001f9e5" * 128,
                owner="m" * 35,
                head=digest,
                digest=digest,
                issuer_pubkey="02" * 33,
                issuer_signature="30" * 72,
            )
            for _ in range(batches.MAX_RECORDS)
        ],
    )
    batch.validate()

    assert len(bson.encode(batch.to_mongo())) < 16 * 1024 * 1024 / 10
    assert max(len(place.path) for place in batch.places().values()) == 10 * 32


def test_o11_a_batch_does_not_make_single_records_seem_cheap(lab: Lab) -> None:
    lab.fill_pool(2)
    records = [lab.registered("NFC-X", Owner())]
    price = fuel_gauge.read().satoshis_per_registration
    records += lab.register_many(20)
    batches.anchor_waiting()

    gauge = fuel_gauge.read()

    assert (gauge.registrations_last_hour, gauge.satoshis_per_registration) == (21, price)
    assert the_batch().size_bytes < 500
    check_whole(lab, records)


# Nothing to be had


def test_an_empty_pool_leaves_all_as_it_was(lab: Lab) -> None:
    records = lab.register_many(2)

    with pytest.raises(PoolEmptyError):
        batches.anchor_waiting()

    assert {lab.reload(record).transaction_id for record in records} == {None}
    lab.fill_pool(1)
    assert batches.anchor_waiting().updated == 2
    check_whole(lab, records)


def test_a_signer_that_is_away_frees_coins_and_records(lab: Lab) -> None:
    lab.fill_pool(1)
    records = lab.register_many(2)
    lab.configure(KMS_SIGN_URL="http://127.0.0.1:1", KMS_SVD_URL="http://127.0.0.1:1")

    with pytest.raises(Exception, match="kms"):
        batches.anchor_waiting()

    lab.configure()
    assert not Utxo.objects(status="locked").count()
    assert batches.anchor_waiting().updated == 2
    check_whole(lab, records)


def test_m13_one_at_a_time_on_all_hosts(lab: Lab) -> None:
    lab.fill_pool(1)
    records = lab.register_many(2)

    with maintenance.exclusive(batches.LOCK), pytest.raises(LockHeldError):
        batches.anchor_waiting()

    assert batches.anchor_waiting().updated == 2
    check_whole(lab, records)


def test_m12_a_lost_lock_stops_it_before_anything_is_stored(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.fill_pool(1)
    records = lab.register_many(2)
    sign = batches.sign_all

    def lose_the_lock(*args: Any, **options: Any) -> Any:
        extensions.get().redis.delete(f"lock:{batches.LOCK}")
        return sign(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(batches, "sign_all", lose_the_lock)
        with pytest.raises(UnavailableError, match="lost"):
            batches.anchor_waiting()

    assert not ChainTransaction.objects.count()
    assert batches.anchor_waiting().updated == 2
    check_whole(lab, records)


def test_two_calls_and_a_worker_at_once_anchor_each_record_once(lab: Lab) -> None:
    lab.fill_pool(30)
    records = lab.register_many(12)
    start = Barrier(3)

    def batch() -> None:
        start.wait()
        try:
            batches.anchor_waiting(6)
        except (LockHeldError, BatchAbandonedError):
            return

    def work() -> None:
        start.wait()
        anchoring.anchor_due(8)

    threads = [Thread(target=each) for each in (batch, batch, work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lab.sweep_until_quiet()

    check_whole(lab, records)


def test_one_record_that_nobody_can_sign_does_not_hold_up_the_others(lab: Lab) -> None:
    lab.fill_pool(1)
    records = lab.register_many(3)
    # No canonical JSON holds such a number; the API accepts none.
    lab.collection("authentication_records").update_one(
        {"_id": records[1].id}, {"$set": {"metadata": {"notes": float("nan")}}}
    )

    assert batches.anchor_waiting() == BatchReport(the_batch().txid, 2, 2)

    assert lab.reload(records[1]).status == RecordStatus.FAILED
    check_at_rest(lab)


# The network


def test_m1_an_unanswered_batch_goes_out_again_with_the_same_bytes(lab: Lab) -> None:
    lab.fill_pool(1)
    records = lab.register_many(3)
    lab.set_faults({"kind": "status", "status": 503, "path": "/tx/raw"})

    done = batches.anchor_waiting()

    assert (done.processed, done.updated, done.is_settled) == (3, 0, False)
    lab.clear_faults()
    lab.sweep_until_quiet()
    assert the_batch().txid == done.txid
    check_whole(lab, records)


def test_a_raised_fee_spends_the_same_coins_and_keeps_every_head(lab: Lab) -> None:
    lab.fill_pool(1)
    records = lab.register_many(3)
    lab.set_faults({"kind": "status", "status": 503, "path": "/tx/raw"})
    cheap = batches.anchor_waiting()
    before = [lab.reload(record).head for record in records]
    spent = [each.outpoint for each in the_batch().inputs]

    [dear] = raising.raise_fees([the_batch()], {cheap.txid: "too low"})

    lab.clear_faults()
    lab.sweep_until_quiet()
    assert dear.txid != cheap.txid
    assert [each.outpoint for each in dear.inputs] == spent
    stored = [lab.reload(record) for record in records]
    assert [each.head for each in stored] == before
    assert {each.txid for each in stored} == {dear.txid}
    check_whole(lab, records)


def test_a_rejected_batch_sends_all_its_records_back(lab: Lab) -> None:
    lab.fill_pool(1)
    records = lab.register_many(3)
    [coin] = Utxo.list_available("funding", limit=1)
    lab.spend_coin_outside(coin)
    lab.mine()

    with pytest.raises(BatchAbandonedError, match="rejected"):
        batches.anchor_waiting()

    for record in records:
        waiting = lab.reload(record)
        assert (waiting.status, waiting.head, waiting.batch) == (RecordStatus.PENDING, None, None)
    lab.fill_pool(1)
    assert batches.anchor_waiting().updated == 3
    check_whole(lab, records)


def test_a_record_taken_over_meanwhile_ends_the_whole_batch(lab: Lab) -> None:
    lab.fill_pool(5)
    records = lab.register_many(3)

    def steal(transactions: Any) -> Any:
        mine = {"_id": records[1].id}
        lab.collection("authentication_records").update_one(mine, {"$unset": {"transaction_id": 1}})
        return persist(transactions)

    persist = commitment.persist
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commitment, "persist", steal)
        with pytest.raises(BatchAbandonedError, match="taken over"):
            batches.anchor_waiting()

    assert {lab.reload(record).status for record in records} == {RecordStatus.PENDING}
    lab.sweep_until_quiet()
    check_whole(lab, records)


def test_p2_a_batch_that_lost_to_another_sends_all_its_records_back(
    lab: Lab, round_trips: RoundTrips
) -> None:
    lab.configure()
    lab.fill_pool(1)
    records = lab.register_many(9)
    batches.anchor_waiting()
    heads = {lab.reload(record).head for record in records}

    rob(lab, the_batch())
    round_trips.counts.clear()
    bury(lab)

    assert round_trips.counts.total() <= 40, "no question a record"
    for record in records:
        waiting = lab.reload(record)
        assert (waiting.status, waiting.head, waiting.batch) == (RecordStatus.PENDING, None, None)
        assert PatchState.find(record.uid_tag_id) is None
    lab.fill_pool(1)
    assert batches.anchor_waiting().updated == 9
    # What had the old head must not be taken for what has the new one.
    assert heads.isdisjoint(lab.reload(record).head for record in records)
    settle_down(lab)
    check_whole(lab, records)


def test_p2_one_record_for_a_person_does_not_keep_the_others(lab: Lab) -> None:
    lab.fill_pool(1)
    records = lab.register_many(3)
    batches.anchor_waiting()
    batch = the_batch()
    assert AuthenticationRecord.erase_owners([lab.reload(records[0])]) == 1

    rob(lab, batch)
    bury(lab)

    assert ChainTransaction.objects.get(id=batch.id).needs_operator
    statuses = [lab.reload(record).status for record in records]
    assert statuses == [RecordStatus.ANCHORING, RecordStatus.PENDING, RecordStatus.PENDING]


def test_an_erased_record_still_leads_to_the_root(lab: Lab) -> None:
    lab.fill_pool(2)
    owner = Owner()
    records = [lab.register("NFC-X", owner).record, *lab.register_many(2)]
    batches.anchor_waiting()
    lab.transfer(lab.reload(records[0]).head, owner, Owner(), "NFC-X")
    anchoring.anchor_due(100)

    assert AuthenticationRecord.erase_owners([lab.reload(records[0])]) == 1

    result = verification.verify("NFC-X")
    assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])
    damage(lab, records[0], {"digest": "ab" * 32, "head": "ab" * 32})
    assert verification.verify("NFC-X").status == verification.COMPROMISED


def test_m15_a_batch_is_tracked_until_it_is_final(lab: Lab) -> None:
    lab.fill_pool(1)
    records = lab.register_many(3)
    batches.anchor_waiting()

    for _ in range(3):
        lab.mine(6)
        lab.pass_time()
        tracker.track()

    assert the_batch().status == TransactionStatus.FINAL
    result = verification.verify(records[0].uid_tag_id)
    assert result.confirmations is not None
    assert result.confirmations >= 6
    check_whole(lab, records)


CRASHES: dict[str, CrashPoint] = {
    "claim_together": CrashPoint(AuthenticationRecord, "claim_together"),
    "lock_each": POINTS["lock_each"],
    "endorse": CrashPoint(batches, "endorse"),
    "sign": CrashPoint(batches, "sign_all"),
    "persist": POINTS["persist"],
    "hold": POINTS["hold"],
    "commit_each": POINTS["commit_each"],
    "committed": POINTS["committed"],
    "first broadcast": POINTS["first broadcast"],
    "accepted": POINTS["accepted"],
    "half of advance_each": POINTS["half of advance_each"],
    "settle": CrashPoint(settlement, "settle"),
}


@pytest.mark.parametrize("point", CRASHES)
def test_d1_a_crash_at_any_step_is_mended_by_the_sweeper(lab: Lab, point: str) -> None:
    lab.fill_pool(5)
    records = lab.register_many(3)

    with crashing(CRASHES[point]):
        batches.anchor_waiting()
    # The dead one's lock runs out by itself.
    extensions.get().redis.delete(f"lock:{batches.LOCK}")
    lab.sweep_until_quiet()

    check_whole(lab, records)


def test_d2_what_is_stored_decides_and_not_who_made_it(lab: Lab) -> None:
    """Committed again from what was stored, each record gets the same place."""
    lab.fill_pool(1)
    records = lab.register_many(5)
    with crashing(POINTS["persist"]):
        batches.anchor_waiting()

    lab.pass_time()
    sweeper.sweep()

    assert [lab.reload(record).batch.index for record in records] == list(range(5))
    lab.sweep_until_quiet()
    check_whole(lab, records)


# What was tampered with is found


def damage(lab: Lab, record: AuthenticationRecord, change: dict[str, Any]) -> None:
    rows = lab.collection("authentication_records")
    assert rows.update_one({"_id": record.id}, {"$set": change}).modified_count == 1


FALSE_PLACES: dict[str, dict[str, Any]] = {
    "another index": {"batch.index": 1},
    "no index there is": {"batch.index": -1},
    "another size": {"batch.size": 6},
    "another path": {"batch.path": b"\x00" * 96},
    "a broken path": {"batch.path": b"\x00" * 95},
    "no path": {"batch.path": b""},
    "no place": {"batch": None},
    "an empty place": {"batch": {}},
    "another digest": {"digest": "ab" * 32},
    "no digest": {"digest": "no hex"},
}


@pytest.mark.parametrize("name", FALSE_PLACES)
def test_s21_a_false_place_is_found(lab: Lab, name: str) -> None:
    lab.fill_pool(1)
    records = lab.register_many(5)
    batches.anchor_waiting()

    damage(lab, records[0], FALSE_PLACES[name])

    result = verification.verify(records[0].uid_tag_id)
    assert result.status == verification.COMPROMISED
    assert any("does not carry it" in finding for finding in result.findings)
    assert verification.verify(records[1].uid_tag_id).status == verification.AUTHENTIC
    [violation] = invariants.check(ask_chain=False, pause_seconds=0).violations
    assert (violation.rule, violation.ids) == ("record-has-one-carrier", (str(records[0].id),))


def test_s21_another_place_in_the_same_batch_is_found(lab: Lab) -> None:
    lab.fill_pool(1)
    records = lab.register_many(4)
    batches.anchor_waiting()
    other = lab.reload(records[1]).batch

    damage(lab, records[0], {"batch": other.to_mongo().to_dict()})

    assert verification.verify(records[0].uid_tag_id).status == verification.COMPROMISED


def test_s5_changed_content_is_found(lab: Lab) -> None:
    lab.fill_pool(1)
    records = lab.register_many(4)
    batches.anchor_waiting()

    damage(lab, records[0], {"owner": Owner().address})

    findings = verification.verify(records[0].uid_tag_id).findings
    assert any("digest is not that of the record" in finding for finding in findings)


def test_s5_a_transfer_can_not_be_made_to_stand_in_a_batch(lab: Lab) -> None:
    lab.fill_pool(3)
    owner = Owner()
    record = lab.register("NFC-1", owner).record
    batches.anchor_waiting()
    lab.transfer(lab.reload(record).head, owner, Owner(), "NFC-1")
    anchoring.anchor_due(100)
    stored = verification.custody_lines.load("NFC-1")
    [first, second] = sorted(stored.links(), key=lambda link: link.content.kind)
    batched = replace(second, head=second.digest, txid=first.txid, raw_tx=first.raw_tx)

    forged = [first, replace(batched, place=first.place)]

    findings = verification.check_line(
        forged, lab.settings.issuer_public_keys, lab.settings.woc_network
    )
    assert any("does not carry it" in finding for finding in findings)


def test_the_log_ties_each_request_to_the_transaction(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.fill_pool(1)
    records = lab.register_many(3)

    with caplog.at_level(logging.INFO):
        done = batches.anchor_waiting()

    [line] = [each for each in caplog.records if getattr(each, "event", "") == "chain.batched"]
    assert line.__dict__["txid"] == done.txid
    assert line.__dict__["record_ids"] == [str(record.id) for record in records]
