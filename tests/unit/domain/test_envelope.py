import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.errors import InvalidScriptError
from app.bitcoin.scripts import data_locking_script
from app.domain.envelope import (
    Envelope,
    InvalidEnvelopeError,
    Kind,
    commitment_payload,
    record_digest,
)

DIGEST, KEY, SIGNATURE, PREVIOUS = "ab" * 32, "02" + "cd" * 32, "3006020101020101", "ef" * 32


def test_an_envelope_is_these_bytes() -> None:
    script = Envelope(Kind.REGISTRATION, b"{}").to_locking_script()
    assert script == (b"\x00\x6a" + b"\x0aPatchProof" + b"\x011" + b"\x0cREGISTRATION" + b"\x02{}")


@given(st.sampled_from(Kind), st.binary(max_size=1_000))
def test_envelopes_round_trip(kind: Kind, payload: bytes) -> None:
    envelope = Envelope(kind, payload)
    assert Envelope.from_locking_script(envelope.to_locking_script()) == envelope


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_an_envelope_or_an_error(raw: bytes, has_prefix: bool) -> None:
    script = data_locking_script([b"PatchProof", b"1"]) + raw if has_prefix else raw
    try:
        envelope = Envelope.from_locking_script(script)
    except (InvalidScriptError, InvalidEnvelopeError):
        return
    assert envelope.to_locking_script() == script


@pytest.mark.parametrize(
    "pushes",
    [
        [],
        [b"PatchProof"],
        [b"PatchProof", b"1", b"REGISTRATION"],
        [b"PatchProof", b"1", b"REGISTRATION", b"{}", b"more"],
        [b"PatchProof", b"2", b"REGISTRATION", b"{}"],
        [b"patchproof", b"1", b"REGISTRATION", b"{}"],
        [b"PatchProof", b"1", b"registration", b"{}"],
        [b"PatchProof", b"1", b"BURN", b"{}"],
        [b"PatchProof", b"1", b"\xff", b"{}"],
        [b"PatchProof", b"1", b"", b"{}"],
    ],
)
def test_other_data_is_no_envelope(pushes: list[bytes]) -> None:
    with pytest.raises(InvalidEnvelopeError):
        Envelope.from_locking_script(data_locking_script(pushes))


def test_a_payment_is_no_data_at_all() -> None:
    with pytest.raises(InvalidScriptError):
        Envelope.from_locking_script(bytes.fromhex("76a914" + "00" * 20 + "88ac"))


def test_a_commitment_of_a_registration_names_no_earlier_transaction() -> None:
    assert (
        commitment_payload(DIGEST, KEY, SIGNATURE, None)
        == (
            f'{{"digest":"{DIGEST}","issuer_pubkey":"{KEY}","issuer_signature":"{SIGNATURE}"}}'
        ).encode()
    )


def test_a_commitment_of_a_transfer_names_the_transaction_that_it_continues() -> None:
    payload = json.loads(commitment_payload(DIGEST, KEY, SIGNATURE, PREVIOUS))
    assert list(payload) == ["digest", "issuer_pubkey", "issuer_signature", "prev_txid"]
    assert payload["prev_txid"] == PREVIOUS


def test_p2_record_digest_is_the_salted_hash_of_canonical_json() -> None:
    salt, view = bytes(range(16)), {"b": 1, "a": {"d": "é", "c": []}}
    expected = hashlib.sha256(salt + '{"a":{"c":[],"d":"é"},"b":1}'.encode()).hexdigest()
    assert record_digest(salt, view) == expected
    assert record_digest(bytes(16), view) != expected


@given(
    st.binary(min_size=16, max_size=16),
    st.dictionaries(st.text("abc", max_size=3), st.integers(0, 5), max_size=4),
    st.randoms(),
)
def test_record_digest_does_not_depend_on_the_order_of_members(
    salt: bytes, view: dict[str, Any], random: Any
) -> None:
    pairs = list(view.items())
    random.shuffle(pairs)
    assert record_digest(salt, dict(pairs)) == record_digest(salt, view)
