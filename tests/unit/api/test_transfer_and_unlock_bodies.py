"""Signatures, keys and sealed content: what reaches the services is well formed."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.api.schemas.patches import TransferBody
from app.api.schemas.unlocking import UnlockBody
from app.bitcoin.keys import N, PrivateKey
from app.errors import InvalidInputError

pytestmark = pytest.mark.usefixtures("app")

ADDRESS = "n4XmX91N5FfccY678vaG1ELNtXh6skVES7"
UNCOMPRESSED_KEY = (
    "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
)


def der(r: int, s: int) -> str:
    def integer(value: int) -> bytes:
        raw = value.to_bytes(value.bit_length() // 8 + 1, "big")
        return bytes([2, len(raw)]) + raw

    body = integer(r) + integer(s)
    return (bytes([0x30, len(body)]) + body).hex()


SIGNATURE = PrivateKey.from_hex("11" * 32).sign(b"\x01" * 32).hex()
PUBLIC_KEY = PrivateKey.from_hex("11" * 32).public_key.to_hex()
BAD_SIGNATURES = {
    "not hex": "zz",
    "odd hex": "abc",
    "empty": "",
    "not der": "00" * 70,
    "trailing byte": SIGNATURE + "00",
    "truncated": SIGNATURE[:-2],
    "spaces": SIGNATURE[:2] + " " + SIGNATURE[2:],
    "zero s": der(1, 0),
    "r out of range": der(N, 1),
}
BAD_KEYS = {
    "uncompressed": UNCOMPRESSED_KEY,
    "not on the curve": "02" + "00" * 31 + "05",
    "hybrid": "06" + PUBLIC_KEY[2:],
    "not hex": "02" + "z" * 64,
    "short": PUBLIC_KEY[:-2],
    "empty": "",
    "other prefix": "05" + PUBLIC_KEY[2:],
}


@pytest.fixture(autouse=True)
def carry_token(client: FlaskClient, bearer: dict[str, str]) -> None:
    client.environ_base["HTTP_AUTHORIZATION"] = bearer["Authorization"]


def transfer_body(**changes: Any) -> dict[str, Any]:
    return {
        "newOwnerAddress": ADDRESS,
        "currentOwnerSignature": SIGNATURE,
        "currentOwnerPubKey": PUBLIC_KEY,
        **changes,
    }


def unlock_body(**changes: Any) -> dict[str, Any]:
    return {"ownerPubKey": PUBLIC_KEY, "ownerSignature": SIGNATURE, **changes}


def sealed(**changes: Any) -> dict[str, str]:
    sizes = {"wrappedKeyB64": 48, "wrapIvB64": 12, "ciphertextB64": 27, "cipherIvB64": 12}
    return {name: b64encode(bytes(size)).decode() for name, size in sizes.items()} | changes


def refuse_transfer(client: FlaskClient, sent: Any, txid: str = "aa" * 32) -> dict[str, str]:
    return problems_of(client.post(f"/v1/patches/{txid}/transfer-ownership", json=sent))


def refuse_unlock(client: FlaskClient, sent: Any, uid: str = "NFC_UID_001") -> dict[str, str]:
    response = client.post(
        f"/v1/patches/{uid}/unlock-content", json=sent, headers={"x-api-key": "the-api-key"}
    )
    return problems_of(response)


def problems_of(response: Any) -> dict[str, str]:
    assert response.status_code == 400, response.get_data(as_text=True)
    assert response.json is not None
    return {d["field"]: d["message"] for d in response.json["error"]["details"]}


@pytest.mark.parametrize("signature", BAD_SIGNATURES.values(), ids=BAD_SIGNATURES.keys())
def test_f29_signature_that_is_not_der_is_refused(client: FlaskClient, signature: str) -> None:
    problems = refuse_transfer(client, transfer_body(currentOwnerSignature=signature))
    assert list(problems) == ["currentOwnerSignature"]
    problems = refuse_unlock(client, unlock_body(ownerSignature=signature))
    assert list(problems) == ["ownerSignature"]


def test_s19_signature_with_high_s_is_refused(client: FlaskClient) -> None:
    high = der(1, N - 1)
    problems = refuse_transfer(client, transfer_body(currentOwnerSignature=high))
    assert problems == {"currentOwnerSignature": "The signature has a high S value."}
    problems = refuse_unlock(client, unlock_body(ownerSignature=high))
    assert problems == {"ownerSignature": "The signature has a high S value."}


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_f29_bad_public_key_is_refused(client: FlaskClient, key: str) -> None:
    problems = refuse_transfer(client, transfer_body(currentOwnerPubKey=key))
    assert list(problems) == ["currentOwnerPubKey"]
    assert list(refuse_unlock(client, unlock_body(ownerPubKey=key))) == ["ownerPubKey"]


def test_s19_uncompressed_key_is_refused_with_its_reason(client: FlaskClient) -> None:
    problems = refuse_transfer(client, transfer_body(currentOwnerPubKey=UNCOMPRESSED_KEY))
    assert "66 hex characters" in problems["currentOwnerPubKey"]


@pytest.mark.parametrize("txid", ["zz", "a" * 63, "a" * 65, "g" * 64, "0x" + "a" * 62])
def test_txid_that_is_not_hex_is_refused(client: FlaskClient, txid: str) -> None:
    assert refuse_transfer(client, transfer_body(), txid) == {
        "txid": "must be 64 hexadecimal characters"
    }


def test_d7_new_owner_with_bad_checksum_is_refused(client: FlaskClient) -> None:
    problems = refuse_transfer(client, transfer_body(newOwnerAddress=ADDRESS[:-1] + "8"))
    assert "checksum" in problems["newOwnerAddress"]


def test_f20_new_owner_of_another_network_is_refused(client: FlaskClient) -> None:
    sent = transfer_body(newOwnerAddress="1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9")
    assert "network" in refuse_transfer(client, sent)["newOwnerAddress"]


def test_every_problem_of_a_transfer_is_reported(client: FlaskClient) -> None:
    sent = {"newOwnerAddress": None, "currentOwnerSignature": 7, "note": "x"}
    assert refuse_transfer(client, sent) == {
        "newOwnerAddress": "must be a string",
        "currentOwnerSignature": "must be a string",
        "currentOwnerPubKey": "is required",
        "note": "is not a known field",
    }


def test_hex_of_either_case_is_one_value() -> None:
    parsed = TransferBody.model_validate(
        transfer_body(
            currentOwnerSignature=SIGNATURE.upper(), currentOwnerPubKey=PUBLIC_KEY.upper()
        )
    )
    assert parsed.current_owner_signature == SIGNATURE
    assert parsed.current_owner_public_key == PUBLIC_KEY


def test_unlocking_needs_no_sealed_content() -> None:
    body = UnlockBody.model_validate(unlock_body())
    assert body.sealed_content() is None
    assert body.nonce is None


def test_sealed_content_is_decoded() -> None:
    content = UnlockBody.model_validate(unlock_body(nonce="n", **sealed())).sealed_content()
    assert content is not None
    assert (len(content.wrapped_key), len(content.ciphertext)) == (48, 27)


@pytest.mark.parametrize("missing", sealed())
def test_part_of_sealed_content_names_what_is_missing(missing: str) -> None:
    parts = sealed()
    del parts[missing]
    body = UnlockBody.model_validate(unlock_body(**parts))
    with pytest.raises(InvalidInputError) as caught:
        body.sealed_content()
    assert [detail["field"] for detail in caught.value.details] == [missing]


def test_one_part_of_sealed_content_is_refused_over_http(client: FlaskClient) -> None:
    problems = refuse_unlock(client, unlock_body(wrapIvB64=sealed()["wrapIvB64"]))
    assert set(problems) == {"wrappedKeyB64", "ciphertextB64", "cipherIvB64"}


@pytest.mark.parametrize(
    ("field", "size"),
    [
        ("wrappedKeyB64", 47),
        ("wrappedKeyB64", 49),
        ("wrapIvB64", 11),
        ("wrapIvB64", 129),
        ("cipherIvB64", 11),
        ("ciphertextB64", 15),
    ],
)
def test_sealed_content_of_a_wrong_size_is_refused(
    client: FlaskClient, field: str, size: int
) -> None:
    sent = unlock_body(**sealed(**{field: b64encode(bytes(size)).decode()}))
    problems = refuse_unlock(client, sent)
    assert list(problems) == [field]
    assert "bytes" in problems[field]


@pytest.mark.parametrize("text", ["AQI", "AQID\n", "A-_D", " AQID", "AQIDBA=", "AR==", "é", "===="])
def test_text_that_is_not_base64_is_refused(client: FlaskClient, text: str) -> None:
    problems = refuse_unlock(client, unlock_body(**sealed(wrapIvB64=text)))
    assert problems == {"wrapIvB64": "must be base64 with padding"}


@pytest.mark.parametrize("value", [None, "", 7])
def test_nonce_is_text_or_absent(client: FlaskClient, value: Any) -> None:
    assert list(refuse_unlock(client, unlock_body(nonce=value))) == ["nonce"]


def test_unknown_field_of_an_unlocking_is_named(client: FlaskClient) -> None:
    assert refuse_unlock(client, unlock_body(x=1)) == {"x": "is not a known field"}


def test_f12_unlocking_has_the_bounds_of_registering(client: FlaskClient) -> None:
    assert list(refuse_unlock(client, unlock_body(), uid="ab")) == ["uid_tag_id"]
