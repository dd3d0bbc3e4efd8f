"""What clients sign is what the service checks, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import messages as theirs
from patchproof_client import Network, OwnerKey, messages

VECTORS = json.loads(
    Path(__file__).parents[2].joinpath("vectors/signed_messages.json").read_text(encoding="utf-8")
)
# Whatever a string may hold, lone surrogates too.
any_text = st.text(st.characters(), max_size=40)
SAME: list[Callable[..., Any]] = [
    messages.transfer_message,
    messages.unlock_message,
    messages.key_registration_message,
    messages.key_rotation_message,
]


@pytest.mark.parametrize("message", SAME, ids=lambda message: message.__name__)
@given(any_text, any_text, any_text)
def test_messages_are_those_of_the_service(
    message: Callable[..., bytes], first: str, second: str, third: str
) -> None:
    assert message(first, second, third) == getattr(theirs, message.__name__)(first, second, third)


@given(any_text, any_text, st.integers(0, 2**53), any_text)
def test_claim_is_that_of_the_service(uid: str, address: str, ts: int, nonce: str) -> None:
    assert messages.claim_message(uid, address, ts, nonce) == theirs.claim_message(
        uid, address, ts, nonce
    )


@given(any_text, any_text)
def test_unlocking_without_a_nonce_is_that_of_the_service(uid: str, txid: str) -> None:
    assert messages.unlock_message(uid, txid, None) == theirs.unlock_message(uid, txid, None)


@given(any_text, any_text)
def test_proof_of_a_key_is_that_of_the_service(subject: str, key: str) -> None:
    assert messages.key_proof_message(subject, key) == theirs.key_proof_message(subject, key)


def test_signatures_are_those_of_the_contract() -> None:
    key = OwnerKey.from_hex(VECTORS["private_key"], Network.MAIN)
    uid, txid, cases = VECTORS["uid_tag_id"], VECTORS["txid"], VECTORS["cases"]
    signed = {
        "transfer": messages.transfer_message(uid, txid, VECTORS["new_owner_address"]),
        "unlock": messages.unlock_message(uid, txid, None),
        "pos": messages.claim_message(uid, VECTORS["pos_address"], VECTORS["ts"], VECTORS["nonce"]),
    }
    assert key.address == VECTORS["pos_address"]
    for name, message in signed.items():
        assert key.sign(message) == cases[name]["standard"], name
