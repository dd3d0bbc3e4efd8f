"""What is erased of somebody, what is not, and what the patches of their past say then."""

from __future__ import annotations

import pytest

from app.models.erasure import Erasure
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.services import erasing, erasing_records, history, verification
from tests.integration.privacy.conftest import UID, Story, tell
from tests.integration.privacy.people import (
    Member,
    bury,
    counts,
    hand_on,
    head_of,
    latest,
    places_of,
    prove,
    remaining,
    subject_of,
    sweep_erasures,
)
from tests.integration.services.crashes import POINTS, crashing
from tests.integration.services.invariants import check_invariants
from tests.integration.services.lab import Lab, Owner


def test_p1_a_former_owner_is_found_nowhere_after_the_erasure(story: Story) -> None:
    before = history.list_custody(UID)
    assert places_of(story.lab, *story.ben.traces)

    report = story.ben.erase()

    assert not report.is_open
    assert counts(report) == {"login_key": 1, "record": 1, "handover": 1}
    assert remaining(report) == {
        "record_frame": 2,
        "product_data": 2,
        "on_chain_digest": 2,
        "user_id_hash": 1,
    }
    assert places_of(story.lab, *story.ben.traces) == []
    after = history.list_custody(UID)
    assert [each.txid for each in after] == [each.txid for each in before]
    assert [each.owner for each in after] == [
        story.brand.address,
        story.ann.owner.address,
        None,
        story.cat.address,
    ]
    assert [each.moved_by for each in after] == [each.moved_by for each in before]
    result = verification.verify(UID)
    assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])
    assert [(each.head, each.pieces) for each in result.erased] == [
        (after[2].txid, ["owner", "owner_word"]),
        (after[3].txid, ["owner_word"]),
    ]
    assert result.record["auth"]["erased"] == ["owner_word"]
    check_invariants()
    stored = Erasure.find(story.ben.subject().digest)
    assert stored is not None
    assert (stored.subject, stored.public_keys, stored.items) == (None, [], [])


def test_everybody_of_a_line_but_the_last_can_be_erased(story: Story) -> None:
    wallet = subject_of("brand@shop.example")
    prove(wallet, story.brand)

    reports = [story.ann.erase(), erasing.request(wallet), story.ben.erase()]

    assert [report.is_open for report in reports] == [False] * 3
    # With Ann's address her record lost the brand's signature over it.
    assert counts(reports[1]) == {"key_proof": 1, "record": 1}
    traces = [*story.ann.traces, *story.ben.traces, story.brand.address, wallet.name]
    assert places_of(story.lab, *traces, story.brand.public_key_hex) == []
    assert [each.owner for each in history.list_custody(UID)] == [None] * 3 + [story.cat.address]
    assert verification.verify(UID).status == verification.AUTHENTIC
    check_invariants()


def test_the_line_goes_on_after_an_erasure(story: Story) -> None:
    story.ben.erase()
    dan = Owner()

    hand_on(story.lab, UID, story.cat, dan)

    result = verification.verify(UID)
    assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])
    assert result.record["auth"]["owner"] == dan.address
    check_invariants()


def test_what_is_tampered_with_after_an_erasure_is_still_found(story: Story) -> None:
    story.ben.erase()
    thief = Owner()
    newest = AuthenticationRecord.objects.get(owner=story.cat.address)
    for collection, key in (("authentication_records", newest.id), ("patch_states", UID)):
        story.lab.collection(collection).update_one(
            {"_id": key}, {"$set": {"owner": thief.address}}
        )

    result = verification.verify(UID)

    assert result.status == verification.COMPROMISED
    assert any("no pinned issuer key signed it" in each for each in result.findings)


def test_the_present_owner_stays_and_goes_when_the_patch_is_handed_on(lab: Lab) -> None:
    ann, ben = Member().join(), Owner()
    lab.fill_pool(4)
    lab.registered(UID, ann.owner)
    bury(lab)

    report = ann.erase()

    assert report.is_open
    assert remaining(report) == {"present_owner": 1, "user_id_hash": 1}
    [present, _] = report.remains
    assert (present.names, present.is_erased_later) == ([UID], True)
    assert PatchState.find(UID) is not None
    assert places_of(lab, ann.owner.address)
    # Whoever holds the key hands it on as before, and nobody has to ask again.
    hand_on(lab, UID, ann.owner, ben)
    sweep_erasures(lab)
    assert remaining(latest(ann))["not_final"] == 1
    bury(lab)
    sweep_erasures(lab)
    assert not latest(ann).is_open
    assert places_of(lab, *ann.traces) == []
    assert verification.verify(UID).status == verification.AUTHENTIC
    check_invariants()


def test_a_transfer_of_theirs_under_way_is_waited_for(lab: Lab) -> None:
    ann, ben = Member().join(), Owner()
    lab.fill_pool(4)
    lab.registered(UID, ann.owner)
    bury(lab)
    lab.configure(JOBS_ASYNC="1")
    pending = lab.transfer(head_of(UID), ann.owner, ben, UID).record

    report = ann.erase()

    assert (report.is_open, remaining(report)["being_handed_on"]) == (True, 1)
    lab.sweep_until_quiet()
    stored = lab.reload(pending)
    assert (stored.status, stored.custody.current_owner_pubkey) == (
        "confirmed",
        ann.owner.public_key_hex,
    )
    bury(lab)
    sweep_erasures(lab)
    assert not latest(ann).is_open
    assert places_of(lab, *ann.traces) == []
    assert verification.verify(UID).status == verification.AUTHENTIC


def test_a_transfer_that_failed_is_erased_at_once(story: Story) -> None:
    story.lab.configure(JOBS_ASYNC="1")
    failed = story.lab.transfer(head_of(UID), story.cat, story.ben.owner, UID).record
    assert AuthenticationRecord.fail_unclaimed(failed.id, "given up")

    report = story.ben.erase()

    assert (report.is_open, counts(report)["record"]) == (False, 2)
    assert places_of(story.lab, *story.ben.traces) == []
    check_invariants()


def test_a_patch_that_comes_after_the_request_is_not_touched(story: Story) -> None:
    lab, ben = story.lab, story.ben
    lab.registered("NFC-2", ben.owner)
    bury(lab)
    assert ben.erase().is_open
    later = lab.registered("NFC-3", ben.owner)
    hand_on(lab, "NFC-3", ben.owner, Owner())
    hand_on(lab, "NFC-2", ben.owner, Owner())
    bury(lab)

    sweep_erasures(lab)

    assert not latest(ben).is_open
    assert lab.reload(later).owner == ben.owner.address


def test_p2_what_the_chain_shows_in_clear_is_told_to_remain(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0", ONCHAIN_PAYLOAD="record")
    story = tell(lab)

    report = story.ben.erase()

    assert remaining(report) == {
        "record_frame": 2,
        "product_data": 2,
        "on_chain_record": 2,
        "user_id_hash": 1,
    }
    # The bytes of two transactions, which are on the chain as well.
    left = places_of(lab, *story.ben.traces)
    assert {path.rpartition(".")[2] for path in left} == {"raw_tx"}
    result = verification.verify(UID)
    assert (result.status, list(result.findings)) == (verification.AUTHENTIC, [])


def test_p1_dead_transactions_name_no_owner(lab: Lab) -> None:
    ann = Member().join()
    lab.fill_pool(3)
    with crashing(POINTS["persist"]):
        lab.registered(UID, ann.owner)
    dead = ChainTransaction.objects.get()
    assert ChainTransaction.abandon(dead.id)
    lab.sweep_until_quiet()
    hand_on(lab, UID, ann.owner, Owner())
    bury(lab)

    assert not ann.erase().is_open

    assert ChainTransaction.objects.get(id=dead.id).status == "abandoned"
    assert places_of(lab, *ann.traces) == []


def test_many_records_take_several_pages(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing_records, "_PAGE", 2)
    monkeypatch.setattr(erasing, "_PAGES_A_REQUEST", 1)
    ann = Member().join()
    lab.fill_pool(12)
    for number in range(5):
        lab.registered(f"NFC-{number}", ann.owner)
        hand_on(lab, f"NFC-{number}", ann.owner, Owner())
    bury(lab)

    first = ann.erase()

    assert (counts(first)["record"], remaining(first)["more"]) == (2, 1)
    sweep_erasures(lab)
    assert (latest(ann).is_open, counts(latest(ann))["record"]) == (False, 5)
    assert places_of(lab, *ann.traces) == []
