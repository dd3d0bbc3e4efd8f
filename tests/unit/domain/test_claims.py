"""A customer's claim: what is signed, by whom, when it counts, and what is shown of the till."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from app.domain.claims import Claim, approver_digest, is_timely
from app.domain.messages import claim_message

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "signed_messages.json").read_text())
CASE = VECTORS["cases"]["pos"]
KEY = PrivateKey.from_hex(VECTORS["private_key"]).public_key
CLAIM = Claim(
    uid_tag_id=VECTORS["uid_tag_id"],
    address=VECTORS["pos_address"],
    public_key_hex=KEY.to_hex(),
    ts=VECTORS["ts"],
    nonce=VECTORS["nonce"],
    signature_der_hex=CASE["standard"],
)


def test_claim_of_the_vectors_is_right() -> None:
    assert CLAIM.is_signed()
    assert CLAIM.is_of_key(Network.MAIN)


def test_f3_claim_over_the_reversed_digest_is_not_signed() -> None:
    assert not replace(CLAIM, signature_der_hex=CASE["reversed"]).is_signed()


CHANGES: dict[str, dict[str, Any]] = {
    "uid": {"uid_tag_id": "NFC_UID_002"},
    "address": {"address": PrivateKey.from_hex("22" * 32).public_key.address(Network.MAIN)},
    "key": {"public_key_hex": PrivateKey.from_hex("22" * 32).public_key.to_hex()},
    "time": {"ts": VECTORS["ts"] + 1},
    "nonce": {"nonce": "abcdeg"},
    "no key": {"public_key_hex": "zz"},
    "no signature": {"signature_der_hex": ""},
    "no hex": {"signature_der_hex": "zz"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_is_changed_was_not_signed(change: dict[str, Any]) -> None:
    assert not replace(CLAIM, **change).is_signed()


@pytest.mark.parametrize("key", ["", "zz", PrivateKey.from_hex("22" * 32).public_key.to_hex()])
def test_address_of_another_key_is_not_of_the_key(key: str) -> None:
    assert not replace(CLAIM, public_key_hex=key).is_of_key(Network.MAIN)


def test_address_of_another_network_is_not_of_the_key() -> None:
    assert not CLAIM.is_of_key(Network.TEST)


@pytest.mark.parametrize(
    ("age_ms", "timely"),
    [(0, True), (180_000, True), (-180_000, True), (180_001, False), (-180_001, False)],
)
def test_s12_a_claim_counts_within_the_window_either_way(age_ms: int, timely: bool) -> None:
    assert is_timely(VECTORS["ts"], VECTORS["ts"] + age_ms, 180_000) is timely


def test_p5_the_approver_is_shown_as_a_digest_of_salt_and_name() -> None:
    shown = approver_digest(b"\x00" * 16, "Ann")

    assert shown == approver_digest(b"\x00" * 16, "Ann")
    assert shown.startswith("sha256:")
    assert len(shown) == 71
    assert (
        len({shown, approver_digest(b"\x01" * 16, "Ann"), approver_digest(bytes(16), "Bob")}) == 3
    )


def test_the_documented_vector_is_that_of_the_contract() -> None:
    text = (Path(__file__).parents[3] / "docs" / "claims.md").read_text(encoding="utf-8")
    message = claim_message(CLAIM.uid_tag_id, CLAIM.address, CLAIM.ts, CLAIM.nonce).decode()

    for value in (VECTORS["private_key"], CLAIM.public_key_hex, CASE["digest"], CASE["standard"]):
        assert f"`{value}`" in text
    assert f"`{message}`" in text.replace("\\|", "|")
