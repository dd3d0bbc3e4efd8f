"""The demo believes nothing that the chain does not show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.bitcoin.errors import ScriptVerificationError
from app.bitcoin.keys import PrivateKey
from app.bitcoin.transactions import TxOutput
from app.domain.envelope import Envelope, Kind, commitment_payload
from demo.chain import OnChain
from demo.errors import DemoError
from demo.evidence import check
from tests.unit.demo.conftest import Anchored, anchor, sign


def test_commitment_of_the_record_is_accepted(anchored: Anchored) -> None:
    on_chain = anchored.on_chain()
    check(anchored.answer(on_chain), on_chain, [anchored.issuer_key])


def test_whole_record_is_accepted(whole_record: Anchored) -> None:
    on_chain = whole_record.on_chain()
    check(whole_record.answer(on_chain), on_chain, [whole_record.issuer_key])


def test_whole_record_with_another_name_is_refused(whole_record: Anchored) -> None:
    on_chain = whole_record.on_chain()
    product = {**whole_record.record["product"], "name": "Imitation"}
    renamed = replace(whole_record, record={**whole_record.record, "product": product})
    with pytest.raises(DemoError, match="does not carry this record"):
        check(renamed.answer(on_chain), on_chain, [renamed.issuer_key])


def test_another_transaction_is_refused(anchored: Anchored) -> None:
    on_chain = anchored.on_chain()
    answer = anchored.answer(on_chain, txid="ab" * 32)
    with pytest.raises(DemoError, match="not the one that verify names"):
        check(answer, on_chain, [anchored.issuer_key])


def test_another_block_is_refused(anchored: Anchored) -> None:
    on_chain = anchored.on_chain()
    answer = anchored.answer(on_chain, block_height=8)
    with pytest.raises(DemoError, match="verify says block 8, the chain says 7"):
        check(answer, on_chain, [anchored.issuer_key])


def test_issuer_that_is_not_pinned_is_refused(anchored: Anchored) -> None:
    on_chain = anchored.on_chain()
    other = PrivateKey.from_hex("22" * 32).public_key.to_hex()
    with pytest.raises(DemoError, match="not a pinned one"):
        check(anchored.answer(on_chain), on_chain, [other])


@pytest.mark.parametrize(
    "changed",
    [
        {"metadata": {"notes": "something else"}},
        {"product": {"uid_tag_id": "041B5C2A8F6181"}},
    ],
)
def test_record_that_the_issuer_did_not_sign_is_refused(
    anchored: Anchored, changed: dict[str, object]
) -> None:
    on_chain = anchored.on_chain()
    forged = replace(anchored, record={**anchored.record, **changed})
    with pytest.raises(DemoError, match="did not sign this record"):
        check(forged.answer(on_chain), on_chain, [anchored.issuer_key])


def test_metadata_hash_that_is_none_is_refused(anchored: Anchored) -> None:
    on_chain = anchored.on_chain()
    answer = replace(anchored.answer(on_chain), metadata_sha256="00" * 32)
    with pytest.raises(DemoError, match="not the hash of the metadata"):
        check(answer, on_chain, [anchored.issuer_key])


def test_envelope_of_another_record_is_refused(anchored: Anchored) -> None:
    record = {**anchored.record, "auth": {**anchored.record["auth"], "ts": 1}}
    other = anchor(record, PrivateKey.from_hex("11" * 32))
    on_chain = other.on_chain()
    with pytest.raises(DemoError, match="does not carry this record"):
        check(anchored.answer(on_chain), on_chain, [anchored.issuer_key])


def test_commitment_without_a_digest_is_refused(anchored: Anchored) -> None:
    auth = anchored.record["auth"]
    payload = commitment_payload("", auth["issuer_pubkey"], auth["issuer_signature"], None)
    empty = replace(anchored, envelope=Envelope(Kind.REGISTRATION, payload))
    on_chain = empty.on_chain()
    with pytest.raises(DemoError, match="does not carry this record"):
        check(empty.answer(on_chain), on_chain, [empty.issuer_key])


def test_envelope_of_another_kind_is_refused(anchored: Anchored) -> None:
    wrong = replace(anchored, envelope=Envelope(Kind.TRANSFER, anchored.envelope.payload))
    on_chain = wrong.on_chain()
    with pytest.raises(DemoError, match="the envelope says TRANSFER"):
        check(wrong.answer(on_chain), on_chain, [wrong.issuer_key])


@pytest.mark.parametrize("envelopes", [0, 2])
def test_other_than_one_envelope_is_refused(anchored: Anchored, envelopes: int) -> None:
    on_chain = anchored.on_chain(envelopes=envelopes)
    with pytest.raises(DemoError, match=f"carries {envelopes} envelopes"):
        check(anchored.answer(on_chain), on_chain, [anchored.issuer_key])


def test_satoshis_locked_for_ever_are_refused(anchored: Anchored) -> None:
    burning = TxOutput(3, anchored.envelope.to_locking_script())
    on_chain = OnChain(sign((burning,)), 7)
    with pytest.raises(DemoError, match="locks 3 satoshis for ever"):
        check(anchored.answer(on_chain), on_chain, [anchored.issuer_key])


def test_scripts_are_run(anchored: Anchored) -> None:
    valid = anchored.on_chain().transaction
    script = valid.inputs[0].unlocking_script
    broken = valid.with_unlocking_scripts([script[:20] + bytes([script[20] ^ 1]) + script[21:]])
    on_chain = OnChain(broken, 7)
    with pytest.raises(ScriptVerificationError):
        check(anchored.answer(on_chain), on_chain, [anchored.issuer_key])
