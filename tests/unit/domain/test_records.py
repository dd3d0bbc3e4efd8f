import json
from dataclasses import replace
from typing import Any

from app.domain.canonical import canonical_json, sha256_hex
from app.domain.envelope import record_digest
from app.domain.messages import registration_message, transfer_endorsement_message
from app.domain.records import (
    Custody,
    MovedBy,
    OwnerWord,
    PosClaim,
    RecordContent,
    RecordKind,
)

PRODUCT = {"uid_tag_id": "NFC-1", "product_name": "Jacket"}
METADATA = {"notes": "blue", "image": "https://x.example/a.png"}
REGISTRATION = RecordContent(
    kind=RecordKind.REGISTRATION,
    product=PRODUCT,
    metadata=METADATA,
    metadata_sha256=sha256_hex(canonical_json(METADATA)),
    owner="owner-address",
    ts=1_700_000_000_000,
)
TRANSFER = replace(
    REGISTRATION,
    kind=RecordKind.TRANSFER,
    custody=Custody("aa" * 32, OwnerWord("aa" * 32, "02" + "11" * 32, "30")),
)

CLAIM = PosClaim("shop-address", "sha256:ab", "03" + "33" * 32, "3007", 1_700_000_000_001, "abcdef")
SALE = replace(TRANSFER, custody=Custody("aa" * 32, None, CLAIM))


def view(content: RecordContent) -> dict[str, Any]:
    return content.public_view("02" + "22" * 32, "3006")


def test_f9_the_issuer_signs_each_kind_with_its_own_message() -> None:
    assert REGISTRATION.endorsement_message() == registration_message(
        "NFC-1", REGISTRATION.metadata_sha256, REGISTRATION.ts
    )
    assert TRANSFER.endorsement_message() == transfer_endorsement_message(
        "NFC-1", TRANSFER.metadata_sha256, "aa" * 32, "owner-address", TRANSFER.ts
    )


def test_a_registration_shows_the_members_of_the_contract() -> None:
    assert view(REGISTRATION) == {
        "type": "AUTHENTICATION_RECORD",
        "product": PRODUCT,
        "metadata": METADATA,
        "auth": {
            "owner": "owner-address",
            "issuer_signature": "3006",
            "issuer_pubkey": "02" + "22" * 32,
            "ts": 1_700_000_000_000,
        },
    }


def test_d4_a_transfer_shows_the_owners_word() -> None:
    auth = view(TRANSFER)["auth"]

    assert auth["prev_txid"] == "aa" * 32
    assert auth["current_owner_pubkey"] == "02" + "11" * 32
    assert auth["current_owner_signature"] == "30"
    assert "signed_txid" not in auth


def test_the_spelling_that_was_signed_is_shown_where_it_differs() -> None:
    shouted = replace(
        TRANSFER, custody=Custody("aa" * 32, OwnerWord("AA" * 32, "02" + "11" * 32, "30"))
    )

    assert view(shouted)["auth"]["signed_txid"] == "AA" * 32


def test_f11_d5_the_digest_does_not_depend_on_the_order_of_members() -> None:
    other = replace(
        REGISTRATION,
        product=dict(reversed(PRODUCT.items())),
        metadata=dict(reversed(METADATA.items())),
    )

    assert json.dumps(view(other)) != json.dumps(view(REGISTRATION))
    assert record_digest(bytes(16), view(other)) == record_digest(bytes(16), view(REGISTRATION))


def test_p2_the_digest_depends_on_the_salt_and_on_every_member() -> None:
    digests = {
        record_digest(bytes(16), view(REGISTRATION)),
        record_digest(bytes(15) + b"\x01", view(REGISTRATION)),
        record_digest(bytes(16), view(replace(REGISTRATION, owner="another"))),
        record_digest(bytes(16), view(replace(REGISTRATION, ts=1))),
        record_digest(bytes(16), view(replace(REGISTRATION, metadata={}))),
        record_digest(bytes(16), view(TRANSFER)),
    }

    assert len(digests) == 6


def test_f7_the_issuer_signs_a_sale_as_any_transfer() -> None:
    assert SALE.endorsement_message() == TRANSFER.endorsement_message()


def test_d4_a_sale_shows_the_customers_claim_and_the_owner_before() -> None:
    auth = view(SALE)["auth"]

    assert auth == {
        "owner": "owner-address",
        "issuer_signature": "3006",
        "issuer_pubkey": "02" + "22" * 32,
        "ts": 1_700_000_000_000,
        "prev_txid": "aa" * 32,
        "pos_approved_by": "sha256:ab",
        "previous_owner": "shop-address",
        "claim_pubkey": "03" + "33" * 32,
        "claim_signature": "3007",
        "claim_ts": 1_700_000_000_001,
        "claim_nonce": "abcdef",
    }


def test_d4_an_owner_who_signed_a_sale_is_shown_with_it() -> None:
    assert TRANSFER.custody is not None
    signed = replace(SALE, custody=replace(TRANSFER.custody, claim=CLAIM))

    assert view(signed)["auth"] == {**view(SALE)["auth"], **view(TRANSFER)["auth"]}


def test_each_kind_of_move_has_its_name() -> None:
    assert TRANSFER.custody is not None
    both = replace(SALE, custody=replace(TRANSFER.custody, claim=CLAIM))

    assert [content.moved_by for content in (REGISTRATION, TRANSFER, SALE, both)] == [
        MovedBy.REGISTRATION,
        MovedBy.OWNER_SIGNATURE,
        MovedBy.POINT_OF_SALE,
        MovedBy.POINT_OF_SALE_OWNER_SIGNATURE,
    ]


def test_records_made_before_there_were_sales_keep_their_digests() -> None:
    custody = Custody("aa" * 32, OwnerWord("AA" * 32, "02" + "11" * 32, "30"))
    contents = [REGISTRATION, TRANSFER, replace(TRANSFER, custody=custody)]

    assert [record_digest(bytes(16), view(content)) for content in contents] == [
        "ef9c6cbb7deed1e4575bdc22fca9788e3a9b1c1e205b63620b06be28cb70eb97",
        "34f669e2b88ac4afbba8e3b8dc8023933ef04ced8ef4b95a7ae0f9a0b79f3d86",
        "16cc25f60753e0d4094a035d4a100417ec47dc0a78d8b40f9b97241adff1a002",
    ]
