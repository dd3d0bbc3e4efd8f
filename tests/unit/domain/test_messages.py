import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.keys import PrivateKey
from app.domain.canonical import NotCanonicalError, canonical_json, sha256_hex
from app.domain.messages import (
    claim_message,
    digest,
    registration_message,
    transfer_endorsement_message,
    transfer_message,
    unlock_message,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "signed_messages.json").read_text())
UID, TXID, TS = VECTORS["uid_tag_id"], VECTORS["txid"], VECTORS["ts"]
MESSAGES = {
    "registration": registration_message(UID, VECTORS["metadata_sha256"], TS),
    "transfer": transfer_message(UID, TXID, VECTORS["new_owner_address"]),
    "unlock": unlock_message(UID, TXID, None),
    "pos": claim_message(UID, VECTORS["pos_address"], TS, VECTORS["nonce"]),
}
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_f3_standard_digest_is_accepted(name: str) -> None:
    case = VECTORS["cases"][name]
    key = PrivateKey.from_hex(VECTORS["private_key"]).public_key
    signed = digest(MESSAGES[name])
    assert signed.hex() == case["digest"]
    assert key.verify(bytes.fromhex(case["standard"]), signed)
    assert not key.verify(bytes.fromhex(case["reversed"]), signed)


def test_metadata_of_the_vectors_has_its_hash() -> None:
    assert sha256_hex(canonical_json(VECTORS["metadata"])) == VECTORS["metadata_sha256"]


def test_messages_are_these_bytes() -> None:
    assert MESSAGES["registration"].decode() == (
        f'{{"metadata_sha256":"{VECTORS["metadata_sha256"]}","purpose":"register_patch",'
        '"ts":1700000000000,"uid_tag_id":"NFC_UID_001"}'
    )
    assert MESSAGES["transfer"].decode() == (
        f'{{"purpose":"transfer_ownership","uid_tag_id":"NFC_UID_001","currentTxid":"{TXID}",'
        '"newOwnerAddress":"12c6DSiU4Rq3P4ZxziKxzrL5LmMBrzjrJX"}'
    )
    assert MESSAGES["unlock"].decode() == (
        f'{{"purpose":"unlock_content","uid_tag_id":"NFC_UID_001","currentTxid":"{TXID}"}}'
    )
    assert MESSAGES["pos"].decode() == (
        "PATCHPROOF_CLAIM|uid:NFC_UID_001|addr:1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9"
        "|ts:1700000000000|nonce:abcdef"
    )


def test_a_nonce_is_the_last_member_of_the_unlock_message() -> None:
    assert unlock_message(UID, TXID, "n-1").decode() == (
        f'{{"purpose":"unlock_content","uid_tag_id":"NFC_UID_001","currentTxid":"{TXID}",'
        '"nonce":"n-1"}'
    )


def test_an_endorsement_of_a_transfer_is_canonical_json() -> None:
    assert transfer_endorsement_message("u", "ab", "cd", "1x", 5) == (
        b'{"metadata_sha256":"ab","owner":"1x","prev_txid":"cd","purpose":"transfer_patch",'
        b'"ts":5,"uid_tag_id":"u"}'
    )


@pytest.mark.parametrize(
    ("character", "written"),
    [
        ('"', '\\"'),
        ("\\", "\\\\"),
        ("\b", "\\b"),
        ("\t", "\\t"),
        ("\n", "\\n"),
        ("\f", "\\f"),
        ("\r", "\\r"),
        ("\0", "\\u0000"),
        ("\x0b", "\\u000b"),
        ("\x1f", "\\u001f"),
        ("/", "/"),
        ("\x7f", "\x7f"),
        ("é", "é"),
        ("\u2028", "\u2028"),
        ("😀", "😀"),
        ("<&>'", "<&>'"),
    ],
)
def test_characters_are_escaped_as_json_stringify_does(character: str, written: str) -> None:
    assert f'"uid_tag_id":"{written}"'.encode() in transfer_message(character, TXID, "x")
    assert f'"uid_tag_id":"{written}"'.encode() in unlock_message(character, TXID, None)
    assert f'"uid_tag_id":"{written}"'.encode() in registration_message(character, "00", 1)


@pytest.mark.parametrize("lone", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_lone_surrogates_are_escaped_as_well_formed_json_stringify_does(lone: int) -> None:
    written = f'"uid_tag_id":"a\\u{lone:04x}b"'.encode()
    assert written in transfer_message(f"a{chr(lone)}b", TXID, "x")
    assert written in unlock_message(f"a{chr(lone)}b", TXID, "n")


def test_lone_surrogates_outside_of_json_become_the_replacement_character() -> None:
    assert claim_message("a\ud800b", "x", 1, "n") == claim_message("a\ufffdb", "x", 1, "n")


def test_lone_surrogates_have_no_canonical_json() -> None:
    with pytest.raises(NotCanonicalError):
        registration_message("\ud800", "00", 1)


@given(texts, texts, texts)
def test_messages_read_back_as_json_with_their_members_in_order(
    uid: str, txid: str, last: str
) -> None:
    transfer = json.loads(transfer_message(uid, txid, last))
    assert list(transfer) == ["purpose", "uid_tag_id", "currentTxid", "newOwnerAddress"]
    assert list(transfer.values())[1:] == [uid, txid, last]
    unlock = json.loads(unlock_message(uid, txid, last))
    assert list(unlock) == ["purpose", "uid_tag_id", "currentTxid", "nonce"]
    assert list(unlock.values())[1:] == [uid, txid, last]


@given(st.tuples(texts, texts, texts), st.tuples(texts, texts, texts))
def test_different_transfers_have_different_messages(
    first: tuple[str, str, str], second: tuple[str, str, str]
) -> None:
    assert (transfer_message(*first) == transfer_message(*second)) == (first == second)
