"""From accepted to final, over bad proofs, reorganisations and evictions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from app.bitcoin.headers import BlockHeader
from app.bitcoin.merkle import MerklePath
from app.clients.outcomes import ServiceUnavailableError
from app.domain.states import RecordStatus, TransactionStatus
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.services import anchoring, tracker, verification
from app.services.tracker import TrackingReport
from tests.integration.clients.scripted_server import ScriptedServer, json_reply
from tests.integration.services.invariants import check_confirmed_once
from tests.integration.services.lab import Lab


@pytest.fixture
def records(lab: Lab) -> list[AuthenticationRecord]:
    """Three records whose transactions the network has taken."""
    lab.fill_pool(3)
    records = lab.register_many(3)
    assert anchoring.anchor_due(100).settled == 3
    return records


def track(lab: Lab) -> TrackingReport:
    """The next round of the tracker."""
    lab.pass_time()
    return tracker.track()


def test_m15_a_mined_transaction_is_proven_and_final_after_the_depth(
    lab: Lab, records: list[AuthenticationRecord]
) -> None:
    assert track(lab) == TrackingReport(checked=3)
    height = lab.mine()

    assert track(lab) == TrackingReport(checked=3, mined=3)

    for record in records:
        transaction = lab.transaction_of(record)
        assert transaction.status == TransactionStatus.MINED
        proof = transaction.proof
        assert proof.block_height == height
        header = BlockHeader.from_bytes(bytes(proof.block_header))
        assert header.block_hash == proof.block_hash
        path = MerklePath.from_bytes(bytes(proof.merkle_path))
        assert path.root(transaction.txid) == header.merkle_root
    seen = verification.verify(records[0].uid_tag_id)
    assert (seen.block_height, seen.confirmations) == (height, 1)

    lab.mine(4)
    assert track(lab) == TrackingReport(checked=3)
    lab.mine()
    assert track(lab) == TrackingReport(checked=3, final=3)
    assert ChainTransaction.objects(next_attempt_at__ne=None).count() == 0
    lab.mine(2)
    assert track(lab) == TrackingReport()
    seen = verification.verify(records[0].uid_tag_id)
    assert (seen.block_height, seen.confirmations) == (height, 8)


def test_a_bad_merkle_path_is_refused_and_a_good_one_taken_later(
    lab: Lab, records: list[AuthenticationRecord]
) -> None:
    lab.mine()
    lab.set_faults({"kind": "bad_merkle_path"})

    assert track(lab) == TrackingReport(checked=3)

    assert {lab.transaction_of(r).status for r in records} == {TransactionStatus.ACCEPTED.value}
    assert all(lab.transaction_of(r).proof is None for r in records)
    lab.clear_faults()
    assert track(lab) == TrackingReport(checked=3, mined=3)


@pytest.mark.parametrize("fault", [{"kind": "garbage"}, {"kind": "status", "status": 503}])
def test_a_proof_that_can_t_be_had_does_not_hold_up_the_others(
    lab: Lab, records: list[AuthenticationRecord], fault: dict[str, Any]
) -> None:
    lab.mine()
    stuck = lab.transaction_of(records[0])
    lab.set_faults({**fault, "path": f"/tx/{stuck.txid}/proof"})

    for _ in range(3):
        # It was looked at last, so it is asked about after those that have waited longer.
        lab.pass_time(31)
        with suppress(ServiceUnavailableError):
            tracker.track()

    assert [lab.transaction_of(r).status for r in records] == [
        TransactionStatus.ACCEPTED,
        TransactionStatus.MINED,
        TransactionStatus.MINED,
    ]
    lab.clear_faults()
    assert track(lab).mined == 1


def test_after_a_reorganisation_it_is_proven_again(
    lab: Lab, records: list[AuthenticationRecord]
) -> None:
    lab.mine()
    track(lab)
    before = lab.transaction_of(records[0]).proof

    lab.control("reorg", {"depth": 1})

    assert track(lab) == TrackingReport(checked=3, reorganised=3)
    transaction = lab.transaction_of(records[0])
    assert (transaction.status, transaction.proof) == (TransactionStatus.ACCEPTED, None)
    assert verification.verify(records[0].uid_tag_id).confirmations == 0
    lab.mine()
    assert track(lab) == TrackingReport(checked=3, mined=3)
    after = lab.transaction_of(records[0]).proof
    assert after.block_hash != before.block_hash
    assert after.block_height > before.block_height


def test_mined_in_another_block_between_two_looks(
    lab: Lab, records: list[AuthenticationRecord]
) -> None:
    lab.mine()
    track(lab)
    before = lab.transaction_of(records[0]).proof
    lab.control("reorg", {"depth": 1})
    lab.mine()

    assert track(lab) == TrackingReport(checked=3, mined=3)

    transaction = lab.transaction_of(records[0])
    assert transaction.status == TransactionStatus.MINED
    assert transaction.proof.block_hash != before.block_hash


def test_m15_what_the_mempools_dropped_is_sent_again(
    lab: Lab, records: list[AuthenticationRecord]
) -> None:
    lab.control("evict", {"txids": None})
    assert lab.transaction_of(records[0]).txid not in lab.chain_transactions()

    assert track(lab) == TrackingReport(checked=3, resent=3)

    lab.mine()
    assert track(lab) == TrackingReport(checked=3, mined=3)
    check_confirmed_once(lab, records)


def test_a_reorganisation_that_loses_a_transaction_sends_it_again(
    lab: Lab, records: list[AuthenticationRecord]
) -> None:
    lab.mine()
    track(lab)
    lost = lab.transaction_of(records[0]).txid
    lab.control("reorg", {"depth": 1, "drop": [lost]})

    assert track(lab).reorganised == 3
    assert track(lab).resent == 1

    lab.mine()
    assert track(lab) == TrackingReport(checked=3, mined=3)
    check_confirmed_once(lab, records)


def test_m7_without_the_chain_service_nothing_changes(
    lab: Lab, records: list[AuthenticationRecord]
) -> None:
    lab.mine()
    track(lab)
    lab.set_faults({"kind": "status", "status": 503})

    with pytest.raises(ServiceUnavailableError):
        track(lab)

    assert {lab.transaction_of(r).status for r in records} == {TransactionStatus.MINED.value}
    lab.clear_faults()
    assert track(lab) == TrackingReport(checked=3)


def test_m7_an_answer_that_leaves_a_transaction_out_says_nothing_about_it(
    lab: Lab, records: list[AuthenticationRecord]
) -> None:
    lab.mine()
    track(lab)
    scripted = ScriptedServer()
    tip = {"chain": "test", "blocks": 500, "bestblockhash": "00" * 32}
    scripted.prepare(json_reply(tip), json_reply([]))
    lab.configure(WOC_BASE_URL=scripted.url)

    report = track(lab)

    scripted.close()
    assert report == TrackingReport(checked=3)
    assert len(scripted.seen) == 2, "nothing was sent again"
    assert {lab.transaction_of(r).status for r in records} == {TransactionStatus.MINED.value}
    assert all(lab.transaction_of(r).proof is not None for r in records)


def test_the_state_of_a_record_does_not_follow_the_block(
    lab: Lab, records: list[AuthenticationRecord]
) -> None:
    """Once the network has it, it is confirmed; how deep it is buried is another question."""
    lab.mine()
    track(lab)
    lab.control("reorg", {"depth": 1})
    track(lab)

    assert {lab.reload(r).status for r in records} == {RecordStatus.CONFIRMED.value}
    assert verification.verify(records[0].uid_tag_id).status == verification.AUTHENTIC
