"""How an older system signed: its vectors, its orders, and what holds of its records."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import data_locking_script
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.domain.canonical import sha256_hex
from app.domain.custody import CustodyLink, check_line
from app.domain.envelope import ChainForm, chain_form
from app.domain.messages import (
    claim_message,
    registration_message,
    transfer_message,
    unlock_message,
)
from app.domain.older_records import (
    OlderForm,
    clean,
    find_order,
    find_payload,
    is_endorsed,
    is_signed,
    spell,
)
from app.domain.older_rows import OlderRowError, read_payload
from app.domain.records import Custody, OwnerWord, Piece, RecordContent, RecordKind
from tests.integration.commands.older import sign

KEY = PrivateKey.from_hex("11" * 32)
ADDRESS = "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9"
METADATA = {"notes": "Test", "image": "https://example.com/a.png"}
# The contract's vectors, section 5: each message with both signatures.
VECTORS = {
    "registration": (
        registration_message(
            "NFC_UID_001",
            "b8cf35c116818c2c16342f189fb783b8b27198fcc9c3b6ce6deb62814260f009",
            1_700_000_000_000,
        ),
        (
            "3045022100d6e7cbe14c5c0cc72af126968d62f15274624b0c158ac1f504a49f2eb2086b1202207ffc84ffc6"
            "7ce91b7779dddbee53e4ebd2c0f0e45b2c058d8ea869c33d319cc6"
        ),
        (
            "30440220369d7279370fb17792038e55b58ab4b599681fe1d45a6206d99f9f29ec173b660220664e4ea84c1c"
            "5c660c019afad98818e20d5e0f270b2208bb0cbc37d1375a6581"
        ),
    ),
    "transfer": (
        transfer_message("NFC_UID_001", "aa" * 32, "12c6DSiU4Rq3P4ZxziKxzrL5LmMBrzjrJX"),
        (
            "304402203b7951882ec47298a0c28b16983082b11b88cd0258126a9b15efd8ba4c83f37502201d3db60e6dd7"
            "a91fb4d60dee216185f209a589e01c057de31ec7850934430ec1"
        ),
        (
            "3045022100f6710e2c6bab2b8a171c075a29315c887ef9e79defddc611925c333731959c54022049adfdd48f"
            "2fcf5c38346f5a93fad736c3df9712f2bdce76b9c87f772b22181e"
        ),
    ),
    "unlock": (
        unlock_message("NFC_UID_001", "aa" * 32, None),
        (
            "304402205038e95eab5e61a3f3290416018bb6e661d440b6800d6a3a1deb4ff957c0b0da02204fe47c841bfd"
            "cb3027c45a2a49568c6123680cf8fa5643f7029efb9ccbe3fae9"
        ),
        (
            "3044022011565d5f35fb557c4edcf1ea280484a9398ac00a862cc048fc7fc60b6f8cb71102201fae8669241c"
            "b5ee7f03699f1b0d1b4ceb1320d41063b07a55a55b7f6cf3a9ca"
        ),
    ),
    "point of sale": (
        claim_message("NFC_UID_001", ADDRESS, 1_700_000_000_000, "abcdef"),
        (
            "3045022100e7a84e87fdb5c7e66ea928c199ee371c7c56cef67c5166b2fc367664bea9fe5e022015abb066a5"
            "fee28052ab909733294ee9e26b4a75dce51f2b05df0f15b0a99aaf"
        ),
        (
            "3045022100e08d8ffad398d5434e998669d7598f603d842ce4125d170daf7bdf97c3b5686202207c0e560c47"
            "d727bf291cf446d6f4e70ff49c727ba0afd4617b6827af46d77ae2"
        ),
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_f3_both_orders_of_a_digest_are_told_apart(name: str) -> None:
    message, standard, backwards = VECTORS[name]
    key = KEY.public_key.to_hex()

    assert is_signed(key, standard, message, is_reversed=False)
    assert is_signed(key, backwards, message, is_reversed=True)
    assert not is_signed(key, standard, message, is_reversed=True)
    assert not is_signed(key, backwards, message, is_reversed=False)


@pytest.mark.parametrize("is_reversed", [True, False])
def test_s19_a_high_s_is_taken_for_the_low_one(is_reversed: bool) -> None:
    signature = sign(KEY, b"message", is_reversed=is_reversed, is_high=True)

    assert is_signed(KEY.public_key.to_hex(), signature, b"message", is_reversed=is_reversed)
    assert not is_signed(KEY.public_key.to_hex(), signature, b"other", is_reversed=is_reversed)


@pytest.mark.parametrize(
    "signature", ["", "00", "30", "zz", "30" * 5000, "3006020100020100", "\x00"]
)
def test_nonsense_is_no_signature(signature: str) -> None:
    assert not is_signed(KEY.public_key.to_hex(), signature, b"message", is_reversed=False)
    assert not is_signed("nonsense", VECTORS["unlock"][1], b"message", is_reversed=True)


@pytest.mark.parametrize("order", [("notes", "image"), ("image", "notes")])
def test_f11_the_order_in_which_metadata_was_hashed_is_found(order: tuple[str, str]) -> None:
    sent = {name: METADATA[name] for name in order}
    hashed = sha256_hex(spell(sent).encode())
    signature = sign(KEY, registration_message("NFC-1", hashed, 5), is_reversed=True)
    asked = {"uid_tag_id": "NFC-1", "ts": 5, "issuer_pubkey": KEY.public_key.to_hex()}

    found = find_order(METADATA, **asked, issuer_signature=signature)

    assert found == OlderForm(spell(sent), 5, is_reversed=True)
    assert find_order({"notes": "other"}, **asked, issuer_signature=signature) is None


def link(owner: PrivateKey, before: CustodyLink | None = None, **parts: Any) -> CustodyLink:
    """A record that holds, or does but for `parts`."""
    word = None if before is None else parts.pop("word")
    ts = 5 if before is None else 9
    text = spell(METADATA)
    message = registration_message("NFC-1", sha256_hex(text.encode()), 5)
    content = RecordContent(
        kind=RecordKind.REGISTRATION if before is None else RecordKind.TRANSFER,
        product={"uid_tag_id": "NFC-1"},
        metadata=dict(METADATA),
        metadata_sha256=sha256_hex(text.encode()),
        owner=owner.public_key.address(Network.MAIN),
        ts=ts,
        custody=None if before is None else Custody(before.head, word),
    )
    signature = sign(KEY, message, is_reversed=True)
    view = content.public_view(KEY.public_key.to_hex(), signature)
    payload = json.dumps(view, separators=(",", ":")).encode()
    raw = Transaction(
        (TxInput(Outpoint("ab" * 32, ts)),), (TxOutput(0, data_locking_script([payload])),)
    )
    return CustodyLink(
        head=raw.txid,
        content=content,
        salt=b"",
        digest=sha256_hex(payload),
        issuer_pubkey=KEY.public_key.to_hex(),
        issuer_signature=signature,
        txid=raw.txid,
        raw_tx=raw.to_bytes(),
        inclusion=None,
        older=OlderForm(text, 5, is_reversed=True, is_word_reversed=True),
    )


def line() -> list[CustodyLink]:
    first = link(KEY)
    other = PrivateKey.from_hex("22" * 32)
    message = transfer_message("NFC-1", first.head, other.public_key.address(Network.MAIN))
    signature = sign(KEY, message, is_reversed=True)
    return [
        first,
        link(other, first, word=OwnerWord(first.head, KEY.public_key.to_hex(), signature)),
    ]


def findings(*links: CustodyLink) -> list[str]:
    return check_line(links, [KEY.public_key.to_hex()], Network.MAIN)


def test_f9_a_line_of_the_older_system_holds() -> None:
    assert findings(*line()) == []


def test_it_does_not_hold_in_our_form_or_under_another_issuer() -> None:

    first, second = line()

    assert findings(replace(first, older=None)) != []
    assert check_line([first], ["02" + "33" * 32], Network.MAIN) != []
    assert findings(first, replace(second, older=OlderForm(spell(METADATA), 9, True, True))) != []
    assert findings(first, replace(second, older=OlderForm(spell(METADATA), 5, True))) != []


@pytest.mark.parametrize(
    "change",
    [
        {"owner": "12c6DSiU4Rq3P4ZxziKxzrL5LmMBrzjrJX"},
        {"ts": 6},
        {"metadata": {"notes": "Other"}},
        {"product": {"uid_tag_id": "NFC-2"}},
    ],
)
def test_whatever_is_changed_of_it_is_found(change: dict[str, Any]) -> None:

    first, _ = line()

    assert findings(replace(first, content=replace(first.content, **change))) != []


def test_p2_what_was_erased_is_not_held_against_it() -> None:

    first, second = line()
    erased = replace(second.content, owner=None, erased=frozenset({Piece.OWNER, Piece.OWNER_WORD}))
    without_word = replace(erased, custody=Custody(first.head, None))

    assert findings(first, replace(second, content=without_word, salt=None)) == []
    form = OlderForm(spell(METADATA), 5, is_reversed=True)
    assert is_endorsed(without_word, form, second.issuer_pubkey, second.issuer_signature)


def test_the_chain_shows_it_in_clear() -> None:
    first, _ = line()

    assert find_payload(first.raw_tx or b"") is not None
    assert chain_form(first.raw_tx or b"") is ChainForm.IN_CLEAR


@pytest.mark.parametrize("raw", [b"", b"\x00" * 100, b"\xff" * 10_000])
def test_bytes_that_are_no_transaction_hold_no_record(raw: bytes) -> None:
    assert find_payload(raw) is None


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{}", b"null", b"[" * 100_000, b'{"auth":{}}', b"\xff\xfe", b'"x"']
)
def test_a_payload_that_is_no_record_is_refused(payload: bytes) -> None:
    with pytest.raises(OlderRowError):
        read_payload(payload, Network.MAIN)


def test_d5_a_proof_that_was_written_into_the_record_is_no_part_of_it() -> None:
    first, _ = line()
    shown = json.loads(find_payload(first.raw_tx or b"") or b"")
    shown["auth"] |= {"merkleRoot": "aa" * 32, "merklePath": ["bb" * 32], "anchorTxid": "cc" * 32}

    view = first.content.public_view(first.issuer_pubkey, first.issuer_signature)
    assert clean(shown) == view
