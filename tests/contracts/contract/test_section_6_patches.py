"""Section 6: registering, verifying, handing on, unlocking."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest

from app.services import sweeper
from tests.contracts.contract.wire import BASE_URL, Wire, code_of, fields_of, new_uid
from tests.integration.services.lab import Owner

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
RICH = {
    "name": "Rain jacket",
    "category": "jackets",
    "sku": "RJ-42",
    "serial_number": "0001",
    "material": "wool",
}
SEALED = {
    "wrapIvB64": "AQIDBAUGBwgJCgsM",
    "wrappedKeyB64": "EhxCkbH6GoinqJ0rOw3WepxGMziSFDiDUiriI5/jDhYBK8vQ6QsU10FLKPN18pP+",
    "cipherIvB64": "DAsKCQgHBgUEAwIB",
    "ciphertextB64": "Va8eFz44EUrq1k9xNzwU7u8BGRWqeRunjD+k",
}
TXID = "ab" * 32


# 6.1


def test_6_1_without_jobs_it_is_201_with_the_transaction(wire: Wire) -> None:
    answer = wire.register(new_uid(), Owner(), metadata={"notes": "Test"})

    body = answer.json()
    assert (answer.status_code, set(body)) == (201, {"message", "txid", "certificateUrl"})
    assert re.fullmatch(r"[0-9a-f]{64}", body["txid"])
    data_hash = hashlib.sha256(b'{"notes":"Test"}').hexdigest()
    assert body["certificateUrl"] == (
        f"{BASE_URL}/certificates/certificate.html?dataHash={data_hash}&txid={body['txid']}"
    )


def test_6_1_with_jobs_it_is_202_with_the_id_to_ask_for(wire: Wire) -> None:
    wire.start(JOBS_ASYNC="1")
    uid = new_uid()

    answer = wire.register(uid, Owner())

    body = answer.json()
    assert (answer.status_code, set(body)) == (202, {"message", "jobId", "uid_tag_id", "pendingId"})
    assert body["uid_tag_id"] == uid
    assert answer.headers["Location"] == f"/v1/patches/pending/registration/{body['pendingId']}"
    assert wire.get(answer.headers["Location"]).status_code == 200


def test_6_1_every_field_is_kept(wire: Wire) -> None:
    uid = new_uid()
    metadata = {"notes": "n", "image": "https://a.example/i.png", "patch_location": "collar"}
    answer = wire.register(
        uid, Owner(), product={"uid_tag_id": uid, **RICH}, metadata=metadata, paymentAddress="1x"
    )
    assert answer.status_code == 201

    record = wire.get(f"/v1/patches/verify/{uid}").json()["record"]

    assert record["product"] == {"uid_tag_id": uid, **RICH}
    assert record["metadata"] == metadata


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"product": {}}, "product.uid_tag_id"),
        ({"product": {"uid_tag_id": "ab"}}, "product.uid_tag_id"),
        ({"product": {"uid_tag_id": "x" * 129}}, "product.uid_tag_id"),
        ({"product": {"uid_tag_id": "abc", "name": "x" * 257}}, "product.name"),
        ({"metadata": {"notes": "x" * 4097}}, "metadata.notes"),
        ({"metadata": {"image": "ftp://a.example/i"}}, "metadata.image"),
        ({"metadata": {"image": "https://a.example/" + "x" * 2048}}, "metadata.image"),
        ({"metadata": {"patch_location": "x" * 257}}, "metadata.patch_location"),
        ({"auth": {}}, "auth.owner"),
        ({"more": 1}, "more"),
    ],
)
def test_6_1_fields_have_their_bounds(wire: Wire, parts: dict[str, Any], field: str) -> None:
    answer = wire.register(new_uid(), Owner(), **parts)

    assert (answer.status_code, fields_of(answer)) == (400, {field})


def test_6_1_a_uid_is_registered_once(wire: Wire) -> None:
    uid, _ = wire.registered(Owner())

    assert code_of(wire.register(uid, Owner())) == (409, "patch_already_registered")


def test_6_1_the_signer_away_is_503(wire: Wire) -> None:
    wire.start(KMS_TX_SIGN_URL="http://127.0.0.1:1", KMS_SIGN_RETRY_ATTEMPTS="1")
    uid = new_uid()

    answer = wire.register(uid, Owner())

    assert code_of(answer) == (503, "signer_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    wire.start()
    assert wire.register(uid, Owner()).status_code == 201


def test_6_1_a_request_can_be_sent_again_under_its_key(wire: Wire) -> None:
    uid, owner = new_uid(), Owner()
    body = {"product": {"uid_tag_id": uid}, "auth": {"owner": owner.address}}
    headers = {**wire.key, "Idempotency-Key": uid}

    first, again = (wire.post("/v1/patches", body, headers=headers) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    other = {**body, "metadata": {"notes": "other"}}
    refused = wire.post("/v1/patches", other, headers=headers)
    assert code_of(refused) == (422, "idempotency_key_reused")


# 6.2, 6.3


def test_6_2_a_registered_patch_is_authentic(wire: Wire) -> None:
    owner = Owner()
    uid, txid = wire.registered(owner)

    answer = wire.get(f"/v1/patches/verify/{uid}")

    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "authentic")
    details = body["verificationDetails"]
    assert (details["issuerSignatureValid"], details["onChainTxid"]) == (True, txid)
    record = body["record"]
    assert record["type"] == "AUTHENTICATION_RECORD"
    auth = record["auth"]
    assert auth["owner"] == owner.address
    assert set(auth) >= {"owner", "issuer_signature", "issuer_pubkey", "ts"}
    assert isinstance(auth["ts"], int)
    assert auth["ts"] > 1_700_000_000_000


def test_6_2_after_a_transfer_it_still_is_and_shows_the_owners_word(wire: Wire) -> None:
    owner, buyer = Owner(), Owner()
    uid, txid = wire.registered(owner)
    new_txid = wire.transfer(uid, txid, owner, buyer).json()["newTxid"]

    body = wire.get(f"/v1/patches/verify/{uid}").json()

    assert body["status"] == "authentic"
    assert body["verificationDetails"]["issuerSignatureValid"] is True
    assert body["verificationDetails"]["onChainTxid"] == new_txid
    auth = body["record"]["auth"]
    assert auth["owner"] == buyer.address
    assert auth["prev_txid"] == txid
    assert auth["current_owner_pubkey"] == owner.public_key_hex
    assert auth["current_owner_signature"]


def test_6_2_unknown_patches_are_404_not_found(wire: Wire) -> None:
    answer = wire.get("/v1/patches/verify/nobody-has-it")

    assert code_of(answer) == (404, "not_found")
    assert (answer.json()["status"], bool(answer.json()["message"])) == ("not_found", True)


def test_6_2_a_head_without_its_record_is_500_error(wire: Wire) -> None:
    uid, _ = wire.registered(Owner())
    wire.lab.collection("authentication_records").delete_many({"uid_tag_id": uid})

    answer = wire.get(f"/v1/patches/verify/{uid}")

    assert (answer.status_code, answer.json()["status"]) == (500, "error")
    wire.lab.collection("patch_states").delete_many({"_id": uid})


@pytest.mark.parametrize("uid", ["ab", "x" * 129])
def test_6_2_uids_have_the_bounds_of_registering(wire: Wire, uid: str) -> None:
    for path in ("verify/{}", "{}/history"):
        assert wire.get("/v1/patches/" + path.format(uid)).status_code == 400


def test_6_3_history_is_the_line_of_custody(wire: Wire) -> None:
    owner, buyer = Owner(), Owner()
    uid, txid = wire.registered(owner)
    new_txid = wire.transfer(uid, txid, owner, buyer).json()["newTxid"]

    answer = wire.get(f"/v1/patches/{uid}/history").json()

    assert answer["uid_tag_id"] == uid
    assert [(event["kind"], event["txid"]) for event in answer["events"]] == [
        ("REGISTRATION", txid),
        ("TRANSFER", new_txid),
    ]
    assert wire.get("/v1/patches/nobody-has-it/history").status_code == 404


# 6.4


def test_6_4_without_jobs_it_is_200_with_the_new_transaction(wire: Wire) -> None:
    owner, buyer = Owner(), Owner()
    uid, txid = wire.registered(owner)

    answer = wire.transfer(uid, txid, owner, buyer)

    assert (answer.status_code, set(answer.json())) == (200, {"message", "newTxid"})
    assert re.fullmatch(r"[0-9a-f]{64}", answer.json()["newTxid"])


def test_6_4_with_jobs_it_is_202_and_a_second_one_is_409_at_once(wire: Wire) -> None:
    owner = Owner()
    uid, txid = wire.registered(owner)
    wire.start(JOBS_ASYNC="1")

    answer = wire.transfer(uid, txid, owner, Owner())

    body = answer.json()
    assert (answer.status_code, set(body)) == (202, {"message", "jobId", "uid_tag_id", "pendingId"})
    assert answer.headers["Location"] == f"/v1/patches/pending/transfer/{body['pendingId']}"
    assert code_of(wire.transfer(uid, txid, owner, Owner())) == (409, "patch_moved")


def test_6_4_who_is_not_the_owner_is_403(wire: Wire) -> None:
    owner, thief = Owner(), Owner()
    uid, txid = wire.registered(owner)

    assert code_of(wire.transfer(uid, txid, thief, thief)) == (403, "not_owner")
    borrowed = wire.transfer(uid, txid, thief, thief, currentOwnerPubKey=owner.public_key_hex)
    assert code_of(borrowed) == (403, "invalid_owner_signature")


def test_6_4_an_unknown_head_is_404_and_a_superseded_one_409(wire: Wire) -> None:
    owner, buyer = Owner(), Owner()
    uid, txid = wire.registered(owner)
    assert wire.transfer(uid, txid, owner, buyer).status_code == 200

    assert code_of(wire.transfer(uid, TXID, owner, buyer)) == (404, "not_found")
    assert code_of(wire.transfer(uid, txid, owner, Owner())) == (409, "patch_moved")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"newOwnerAddress": "x"}, "newOwnerAddress"),
        ({"currentOwnerSignature": "zz"}, "currentOwnerSignature"),
        ({"currentOwnerPubKey": "02" + "ff" * 32}, "currentOwnerPubKey"),
        ({"more": 1}, "more"),
    ],
)
def test_6_4_bad_fields_are_400(wire: Wire, changes: dict[str, Any], field: str) -> None:
    answer = wire.transfer("NFC-1", TXID, Owner(), Owner(), **changes)

    assert (answer.status_code, fields_of(answer)) == (400, {field})


def test_6_4_a_txid_has_64_hexadecimal_characters(wire: Wire) -> None:
    assert wire.transfer("NFC-1", "ab" * 31, Owner(), Owner()).status_code == 400


def test_6_4_the_token_alone_opens_it(wire: Wire) -> None:
    path = f"/v1/patches/{TXID}/transfer-ownership"

    assert code_of(wire.post(path, {}, headers=wire.key)) == (401, "missing_token")
    assert wire.post(path, {}, headers=wire.token()).status_code == 400


# 6.5, 6.6


def test_6_5_a_registration_can_be_followed_to_its_end(wire: Wire) -> None:
    wire.start(JOBS_ASYNC="1")
    uid = new_uid()
    pending_id = wire.register(uid, Owner()).json()["pendingId"]
    path = f"/v1/patches/pending/registration/{pending_id}"

    waiting = wire.get(path).json()
    sweeper.sweep()
    confirmed = wire.get(path).json()

    assert set(waiting) == {
        *("id", "uid_tag_id", "status", "txid", "error", "created_at", "updated_at"),
        "certificateUrl",
    }
    assert (waiting["id"], waiting["uid_tag_id"]) == (pending_id, uid)
    assert (waiting["status"], waiting["txid"], waiting["error"]) == ("pending", None, None)
    assert waiting["certificateUrl"] is None
    assert MOMENT.fullmatch(waiting["created_at"])
    assert MOMENT.fullmatch(waiting["updated_at"])
    assert confirmed["status"] == "confirmed"
    assert re.fullmatch(r"[0-9a-f]{64}", confirmed["txid"])
    assert confirmed["certificateUrl"].endswith(f"&txid={confirmed['txid']}")


@pytest.mark.parametrize("kind", ["registration", "transfer"])
@pytest.mark.parametrize(
    ("record_id", "status"),
    [("1234567", 400), ("12345678", 404), ("ab" * 12, 404), ("not-an-object-id", 404)],
)
def test_6_5_ids_that_name_nothing(wire: Wire, kind: str, record_id: str, status: int) -> None:
    assert wire.get(f"/v1/patches/pending/{kind}/{record_id}").status_code == status


def test_6_6_either_path_answers_for_either_kind(wire: Wire) -> None:
    owner = Owner()
    uid, txid = wire.registered(owner)
    wire.start(JOBS_ASYNC="1")
    pending_id = wire.transfer(uid, txid, owner, Owner()).json()["pendingId"]

    transfer = wire.get(f"/v1/patches/pending/transfer/{pending_id}").json()
    registration = wire.get(f"/v1/patches/pending/registration/{pending_id}").json()

    assert "certificateUrl" not in transfer
    assert {**transfer, "certificateUrl": None} == registration
    sweeper.sweep()
    assert wire.get(f"/v1/patches/pending/transfer/{pending_id}").json()["status"] == "confirmed"


# 6.7, 6.8


def test_6_7_a_nonce_says_until_when_it_is_good(wire: Wire) -> None:
    uid, _ = wire.registered(Owner())

    answer = wire.keyed(f"/v1/patches/{uid}/unlock-challenge")

    assert (answer.status_code, set(answer.json())) == (200, {"nonce", "expiresAt"})
    assert MOMENT.fullmatch(answer.json()["expiresAt"])
    assert wire.keyed("/v1/patches/nobody-has-it/unlock-challenge").status_code == 404


def test_6_8_the_owner_is_authorised_once_a_nonce(wire: Wire) -> None:
    owner = Owner()
    uid, txid = wire.registered(owner)
    nonce = wire.nonce(uid)

    answer = wire.unlock(uid, txid, owner, nonce)

    assert answer.status_code == 200
    assert answer.json() == {"authorized": True, "uid_tag_id": uid, "txid": txid}
    assert code_of(wire.unlock(uid, txid, owner, nonce)) == (403, "invalid_nonce")
    assert code_of(wire.unlock(uid, txid, owner, None))[0] in (400, 403)


def test_6_8_strangers_are_403_and_unknown_patches_404(wire: Wire) -> None:
    owner, thief = Owner(), Owner()
    uid, txid = wire.registered(owner)
    nonce = wire.nonce(uid)

    assert code_of(wire.unlock(uid, txid, thief, nonce)) == (403, "not_owner")
    borrowed = wire.unlock(uid, txid, thief, nonce, ownerPubKey=owner.public_key_hex)
    assert code_of(borrowed) == (403, "invalid_owner_signature")
    assert wire.unlock("nobody-has-it", txid, owner, nonce).status_code == 404


def test_6_8_the_operator_may_take_signatures_without_a_nonce(wire: Wire) -> None:
    wire.start(UNLOCK_ALLOW_STATIC="1")
    owner = Owner()
    uid, txid = wire.registered(owner)

    assert wire.unlock(uid, txid, owner, None).status_code == 200


def test_6_8_sealed_content_opens_as_in_the_vector(wire: Wire) -> None:
    wire.start(MASTER_SECRET="vector-master-secret")
    owner, uid = Owner(), "NFC_UID_001"
    txid = wire.register(uid, owner).json()["txid"]

    answer = wire.unlock(uid, txid, owner, wire.nonce(uid), **SEALED)
    assert (answer.status_code, answer.json()["content"]) == (200, "hello patch")

    wrong = {**SEALED, "cipherIvB64": SEALED["wrapIvB64"]}
    assert wire.unlock(uid, txid, owner, wire.nonce(uid), **wrong).status_code == 400


def test_6_8_some_of_the_four_fields_are_400(wire: Wire) -> None:
    owner = Owner()
    uid, txid = wire.registered(owner)
    some = {name: SEALED[name] for name in list(SEALED)[:3]}

    answer = wire.unlock(uid, txid, owner, wire.nonce(uid), **some)

    assert (answer.status_code, fields_of(answer)) == (400, {"ciphertextB64"})
