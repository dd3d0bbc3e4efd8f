"""A patch changes hands, once for each word of its owner."""

from __future__ import annotations

from itertools import pairwise

import pytest

from app.domain.messages import digest, transfer_message
from app.domain.states import RecordStatus
from app.errors import NotFoundError, NotOwnerError, OwnerSignatureError, PatchMovedError
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.setting import FEE_PER_KB, Setting
from app.services import anchoring, history, transfers
from tests.integration.services.invariants import check_at_rest, check_confirmed_once
from tests.integration.services.lab import Lab, Owner


def test_f2_a_transfer_moves_the_patch(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(3)
    owners = [Owner() for _ in range(3)]
    records = [lab.register("NFC-1", owners[0]).record]

    for seller, buyer in pairwise(owners):
        records.append(lab.transfer(records[-1].head, seller, buyer, "NFC-1").record)

    state = PatchState.find("NFC-1")
    assert state is not None
    assert (state.head, state.owner) == (records[-1].head, owners[-1].address)
    line = history.list_custody("NFC-1")
    assert [event.txid for event in line] == [record.head for record in records]
    assert [event.owner for event in line] == [owner.address for owner in owners]
    assert [event.prev_txid for event in line] == [None, *[r.head for r in records[:-1]]]
    check_confirmed_once(lab, records)


def test_f19_both_modes_make_the_same_record(lab: Lab) -> None:
    lab.fill_pool(4)
    records = {}
    for mode in ("0", "1"):
        owner, buyer, uid = Owner(), Owner(), f"NFC-{mode}"
        head = lab.registered(uid, owner).head
        lab.configure(JOBS_ASYNC=mode)
        record = lab.transfer(head, owner, buyer, uid).record
        anchoring.anchor_due(100)
        records[mode] = lab.reload(record)

    fields = {mode: set(record.to_mongo()) for mode, record in records.items()}
    assert fields["0"] == fields["1"]
    check_confirmed_once(lab, list(records.values()))


def test_d4_the_owners_word_is_kept(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(2)
    owner, buyer = Owner(), Owner()
    head = lab.register("NFC-1", owner).record.head

    auth = lab.transfer(head, owner, buyer, "NFC-1").record.public_view()["auth"]

    assert auth["prev_txid"] == head
    assert auth["current_owner_pubkey"] == owner.public_key_hex
    message = transfer_message("NFC-1", head, buyer.address)
    signature = bytes.fromhex(auth["current_owner_signature"])
    assert owner.key.public_key.verify(signature, digest(message))
    assert auth["owner"] == buyer.address


def test_a_head_in_capitals_is_the_same_head_and_other_bytes(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(2)
    owner, buyer = Owner(), Owner()
    head = lab.register("NFC-1", owner).record.head

    record = lab.transfer(head.upper(), owner, buyer, "NFC-1").record

    assert record.custody.prev_txid == head
    assert record.public_view()["auth"]["signed_txid"] == head.upper()
    check_confirmed_once(lab, [record])


def test_m8_a_second_transfer_of_a_head_is_refused_at_once(lab: Lab) -> None:
    lab.fill_pool(2)
    owner = Owner()
    head = lab.registered("NFC-1", owner).head
    lab.transfer(head, owner, Owner(), "NFC-1")

    with pytest.raises(PatchMovedError):
        lab.transfer(head, owner, Owner(), "NFC-1")

    assert AuthenticationRecord.objects(kind="TRANSFER").count() == 1


def test_m8_a_transfer_over_a_superseded_head_is_refused(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(3)
    owner, buyer = Owner(), Owner()
    head = lab.register("NFC-1", owner).record.head
    lab.transfer(head, owner, buyer, "NFC-1")

    with pytest.raises(PatchMovedError):
        lab.transfer(head, owner, Owner(), "NFC-1")
    with pytest.raises(PatchMovedError):
        lab.transfer(head, buyer, Owner(), "NFC-1")

    check_at_rest(lab)


def test_f3_a_strangers_key_and_a_strangers_signature_are_refused(lab: Lab) -> None:
    lab.fill_pool(1)
    owner, stranger = Owner(), Owner()
    head = lab.registered("NFC-1", owner).head
    message = transfer_message("NFC-1", head, stranger.address)

    with pytest.raises(NotOwnerError):
        lab.transfer(head, stranger, stranger, "NFC-1")
    with pytest.raises(OwnerSignatureError):
        transfers.transfer(
            head=head,
            new_owner=stranger.address,
            signature_der_hex=stranger.sign(message),
            public_key_hex=owner.public_key_hex,
        )
    with pytest.raises(OwnerSignatureError):
        transfers.transfer(
            head=head,
            new_owner=Owner().address,
            signature_der_hex=owner.sign(message),
            public_key_hex=owner.public_key_hex,
        )

    assert AuthenticationRecord.objects(kind="TRANSFER").count() == 0


def test_f3_a_signature_over_the_reversed_digest_is_refused(lab: Lab) -> None:
    lab.fill_pool(1)
    owner, buyer = Owner(), Owner()
    head = lab.registered("NFC-1", owner).head
    reversed_digest = digest(transfer_message("NFC-1", head, buyer.address))[::-1]

    with pytest.raises(OwnerSignatureError):
        transfers.transfer(
            head=head,
            new_owner=buyer.address,
            signature_der_hex=owner.key.sign(reversed_digest).hex(),
            public_key_hex=owner.public_key_hex,
        )


def test_a_head_that_nobody_knows_is_not_found(lab: Lab) -> None:
    with pytest.raises(NotFoundError):
        lab.transfer("ab" * 32, Owner(), Owner(), "NFC-1")


def test_a_registration_that_waits_can_not_be_transferred(lab: Lab) -> None:
    owner = Owner()
    lab.register("NFC-1", owner)

    with pytest.raises(NotFoundError):
        lab.transfer("ab" * 32, owner, Owner(), "NFC-1")


def test_d6_a_transfer_that_failed_frees_the_head(lab: Lab) -> None:
    lab.configure(MAX_ANCHOR_ATTEMPTS="1")
    lab.fill_pool(3)
    owner, buyer = Owner(), Owner()
    head = lab.registered("NFC-1", owner).head
    Setting.put(FEE_PER_KB, 10)
    failed = lab.transfer(head, owner, Owner(), "NFC-1").record
    anchoring.anchor_due(100)
    assert lab.reload(failed).status == RecordStatus.FAILED

    Setting.put(FEE_PER_KB, 100)
    record = lab.transfer(head, owner, buyer, "NFC-1").record
    lab.sweep_until_quiet()

    check_confirmed_once(lab, [record])
