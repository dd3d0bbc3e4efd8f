"""A registration on its way to the chain, in the request and in a task."""

from __future__ import annotations

import pytest

from app.bitcoin.transactions import Transaction
from app.domain.canonical import canonical_json
from app.domain.envelope import Envelope, Kind, commitment_payload, record_digest
from app.domain.states import RecordStatus, UtxoStatus
from app.errors import PatchAlreadyRegisteredError, SignerUnavailableError
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.utxo import Utxo
from app.services import anchoring
from tests.integration.services.invariants import anchors_of, check_at_rest, check_confirmed_once
from tests.integration.services.lab import Lab, Owner


def test_f1_synchronous_registration_ends_on_the_chain(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(1)
    owner = Owner()
    before = lab.accepted_count()

    submission = lab.register("NFC-1", owner)

    record = submission.record
    assert submission.job_id is None
    assert record.status == RecordStatus.CONFIRMED
    assert record.head == record.txid
    assert lab.accepted_count() == before + 1
    assert anchors_of(lab, "NFC-1") == [record.txid]
    state = PatchState.find("NFC-1")
    assert state is not None
    assert (state.head, state.owner, state.record_id) == (record.head, owner.address, record.id)
    check_confirmed_once(lab, [record])


def test_the_coin_is_spent_and_its_change_is_back_in_the_pool(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(1)
    [coin] = Utxo.objects

    record = lab.register("NFC-1").record

    coin.reload()
    assert (coin.status, coin.spent_txid) == (UtxoStatus.SPENT, record.txid)
    transaction = lab.transaction_of(record)
    [change] = Utxo.objects(status=UtxoStatus.AVAILABLE.value)
    assert change.outpoint == f"{record.txid}:1"
    assert change.satoshis == coin.satoshis - transaction.fee_satoshis
    # 100 satoshis per kilobyte of the signed size, rounded up; a signature may be shorter.
    assert (
        transaction.size_bytes / 10 <= transaction.fee_satoshis <= transaction.size_bytes / 10 + 2
    )


def test_p2_the_envelope_carries_the_digest_and_nothing_personal(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(1)
    owner = Owner()

    record = lab.register("NFC-1", owner, notes="for Ada Lovelace", serial="S-77").record

    raw = bytes.fromhex(lab.chain_transactions()[record.txid]["hex"])
    envelope = Envelope.from_locking_script(Transaction.from_bytes(raw).outputs[0].locking_script)
    assert envelope.kind is Kind.REGISTRATION
    assert record.digest == record_digest(bytes(record.salt), record.public_view())
    assert envelope.payload == commitment_payload(
        record.digest, record.issuer_pubkey, record.issuer_signature, None
    )
    for personal in (b"Ada", b"S-77", b"NFC-1", owner.address.encode()):
        assert personal not in raw


def test_the_whole_record_goes_on_the_chain_where_the_operator_wants_it(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0", ONCHAIN_PAYLOAD="record")
    lab.fill_pool(1)

    record = lab.register("NFC-1", notes="blue " * 300).record

    raw = bytes.fromhex(lab.chain_transactions()[record.txid]["hex"])
    envelope = Envelope.from_locking_script(Transaction.from_bytes(raw).outputs[0].locking_script)
    assert envelope.payload == canonical_json(record.public_view())
    check_confirmed_once(lab, [record])


def test_d6_asynchronous_registration_waits_and_is_anchored_by_a_pass(lab: Lab) -> None:
    lab.fill_pool(1)

    submission = lab.register("NFC-1")

    assert submission.job_id is not None
    assert submission.record.status == RecordStatus.PENDING
    assert PatchState.find("NFC-1") is None
    assert anchoring.anchor_due(100).settled == 1
    check_confirmed_once(lab, [submission.record])


@pytest.mark.parametrize("is_async", ["0", "1"])
def test_an_issuer_key_that_is_not_pinned_signs_nothing(lab: Lab, is_async: str) -> None:
    stranger = Owner().public_key_hex
    lab.configure(ISSUER_PUBLIC_KEYS=stranger, JOBS_ASYNC=is_async)
    lab.fill_pool(1)

    if is_async == "1":
        record = lab.register("NFC-1").record
        anchoring.anchor_due(100)
    else:
        with pytest.raises(SignerUnavailableError, match="ISSUER_PUBLIC_KEYS"):
            lab.register("NFC-1")
        record = AuthenticationRecord.objects.get()

    record = lab.reload(record)
    assert "ISSUER_PUBLIC_KEYS" in record.reason
    assert record.transaction_id is None
    assert record.status == (RecordStatus.PENDING if is_async == "1" else RecordStatus.FAILED)
    assert {coin.status for coin in Utxo.objects} == {UtxoStatus.AVAILABLE.value}
    assert anchors_of(lab, "NFC-1") == []


def test_a_pinned_key_among_several_signs(lab: Lab) -> None:
    keys = f"{Owner().public_key_hex},{lab.env['ISSUER_PUBLIC_KEYS'].upper()}"
    lab.configure(JOBS_ASYNC="0", ISSUER_PUBLIC_KEYS=keys)
    lab.fill_pool(1)

    assert lab.register("NFC-1").record.status == RecordStatus.CONFIRMED


def test_s2_a_uid_is_registered_once(lab: Lab) -> None:
    lab.fill_pool(2)
    record = lab.registered("NFC-1", Owner())

    with pytest.raises(PatchAlreadyRegisteredError):
        lab.register("NFC-1")

    check_confirmed_once(lab, [record])


def test_f12_uids_are_told_apart_to_the_last_character(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(3)

    records = [lab.register(uid).record for uid in ("NFC-1", "nfc-1", "NFC-1 ä/雪")]

    check_confirmed_once(lab, records)
    check_at_rest(lab)
