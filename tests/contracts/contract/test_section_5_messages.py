"""Section 5: what is signed, byte for byte, and that nothing else is taken."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from app.bitcoin.keys import PrivateKey, PublicKey
from app.domain.messages import (
    claim_message,
    registration_message,
    transfer_message,
    unlock_message,
)
from tests.contracts.contract.wire import Wire, claim_body, code_of, new_uid
from tests.integration.services.lab import Owner

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "vectors" / "signed_messages.json").read_text("utf-8")
)
UID, TXID, ADDRESS = "NFC_UID_001", "aa" * 32, "12c6DSiU4Rq3P4ZxziKxzrL5LmMBrzjrJX"
POS_ADDRESS = "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9"
METADATA_HASH = "b8cf35c116818c2c16342f189fb783b8b27198fcc9c3b6ce6deb62814260f009"
WRITTEN = {
    "registration": (
        f'{{"metadata_sha256":"{METADATA_HASH}","purpose":"register_patch",'
        f'"ts":1700000000000,"uid_tag_id":"{UID}"}}'
    ),
    "transfer": (
        f'{{"purpose":"transfer_ownership","uid_tag_id":"{UID}","currentTxid":"{TXID}",'
        f'"newOwnerAddress":"{ADDRESS}"}}'
    ),
    "unlock": f'{{"purpose":"unlock_content","uid_tag_id":"{UID}","currentTxid":"{TXID}"}}',
    "pos": f"PATCHPROOF_CLAIM|uid:{UID}|addr:{POS_ADDRESS}|ts:1700000000000|nonce:abcdef",
}
MADE = {
    "registration": registration_message(UID, METADATA_HASH, 1700000000000),
    "transfer": transfer_message(UID, TXID, ADDRESS),
    "unlock": unlock_message(UID, TXID, None),
    "pos": claim_message(UID, POS_ADDRESS, 1700000000000, "abcdef"),
}


def reversed_signature(owner: Owner, message: bytes) -> str:
    """A signature over the digest the wrong way round, as the older system wanted it."""
    return owner.key.sign(hashlib.sha256(message).digest()[::-1]).hex()


@pytest.mark.parametrize("kind", WRITTEN)
def test_5_1_messages_are_these_bytes(kind: str) -> None:
    assert MADE[kind].decode() == WRITTEN[kind]


def test_5_1_a_nonce_is_the_last_member() -> None:
    assert unlock_message(UID, TXID, "n1").decode() == WRITTEN["unlock"][:-1] + ',"nonce":"n1"}'


def test_5_1_json_is_escaped_as_javascript_does() -> None:
    message = transfer_message('a"b\\c\b\t\n\f\r\x01\x1f/\x7fé€😀', TXID, ADDRESS).decode()

    assert 'a\\"b\\\\c\\b\\t\\n\\f\\r\\u0001\\u001f/\x7fé€😀' in message


def test_5_1_a_signature_over_the_reversed_digest_is_refused(wire: Wire) -> None:
    owner, buyer = Owner(), Owner()
    uid, txid = wire.registered(owner)
    claim = claim_body(uid, buyer)
    ts, nonce = claim["challenge"]["ts"], claim["challenge"]["nonce"]
    unlock_nonce = wire.nonce(uid)

    transfer = wire.transfer(
        uid,
        txid,
        owner,
        buyer,
        currentOwnerSignature=reversed_signature(owner, transfer_message(uid, txid, buyer.address)),
    )
    unlock = wire.unlock(
        uid,
        txid,
        owner,
        unlock_nonce,
        ownerSignature=reversed_signature(owner, unlock_message(uid, txid, unlock_nonce)),
    )
    claim["signature"] = reversed_signature(buyer, claim_message(uid, buyer.address, ts, nonce))

    assert code_of(transfer) == (403, "invalid_owner_signature")
    assert code_of(unlock) == (403, "invalid_owner_signature")
    assert code_of(wire.post("/v1/pos/claim-intent", claim)) == (401, "invalid_claim_signature")
    # The standard one is taken.
    assert wire.transfer(uid, txid, owner, buyer).status_code == 200


def test_5_1_the_txid_is_signed_as_it_stands_in_the_path(wire: Wire) -> None:
    owner, buyer = Owner(), Owner()
    uid, txid = wire.registered(owner)

    assert wire.transfer(uid, txid.upper(), owner, buyer).status_code == 200


def test_5_1_the_issuer_signs_the_registration(wire: Wire) -> None:
    uid, _ = wire.registered(Owner(), metadata={"notes": "Test"})

    answer = wire.get(f"/v1/patches/verify/{uid}").json()

    auth = answer["record"]["auth"]
    message = registration_message(uid, METADATA_HASH, auth["ts"])
    key = PublicKey.from_hex(auth["issuer_pubkey"])
    assert key.verify(bytes.fromhex(auth["issuer_signature"]), hashlib.sha256(message).digest())


@pytest.mark.parametrize(
    ("metadata", "canonical"),
    [
        ({"notes": "Test"}, '{"notes":"Test"}'),
        ({"notes": "b", "image": "https://a.example/x"}, None),
        ({}, "{}"),
        (None, "{}"),
    ],
)
def test_5_2_metadata_has_one_hash_and_verify_tells_it(
    wire: Wire, metadata: dict[str, str] | None, canonical: str | None
) -> None:
    owner, parts = Owner(), {} if metadata is None else {"metadata": metadata}
    uid, other = new_uid(), new_uid()
    answer = wire.register(uid, owner, **parts).json()
    turned = dict(reversed(list((metadata or {}).items())))
    wire.register(other, owner, **({} if metadata is None else {"metadata": turned}))

    hashes = {
        wire.get(f"/v1/patches/verify/{each}").json()["metadata_sha256"] for each in (uid, other)
    }
    canonical = canonical or '{"image":"https://a.example/x","notes":"b"}'
    assert hashes == {hashlib.sha256(canonical.encode()).hexdigest()}
    assert f"dataHash={hashes.pop()}&" in answer["certificateUrl"]
    assert wire.get(f"/v1/patches/verify/{uid}").json()["status"] == "authentic"


@pytest.mark.parametrize("kind", WRITTEN)
def test_5_3_the_vectors_hold(kind: str) -> None:
    vector = VECTORS["cases"][kind]
    digest = hashlib.sha256(MADE[kind]).digest()
    key = PrivateKey.from_hex(VECTORS["private_key"])

    assert digest.hex() == vector["digest"]
    assert key.sign(digest).hex() == vector["standard"]
    assert key.sign(digest[::-1]).hex() == vector["reversed"]
    assert key.public_key.verify(bytes.fromhex(vector["standard"]), digest)
    assert not key.public_key.verify(bytes.fromhex(vector["reversed"]), digest)
