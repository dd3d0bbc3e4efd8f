"""The till over HTTP: the whole way of a sale, and every answer that the contract names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import create_app, extensions
from app.domain.clock import unix_milliseconds, utc_now
from app.domain.messages import digest, transfer_message
from app.models.claim_intent import ClaimIntent
from app.models.record import AuthenticationRecord
from app.services import anchoring
from tests.integration.api.caller import Caller
from tests.integration.services.lab import PATIENCE, Owner
from tests.integration.services.test_races import at_once
from tests.integration.services.tills import signed_claim

UID = "NFC_UID_001"
SHOP = Owner()
INTENT = "/v1/pos/claim-intent"
APPROVE = "/v1/pos/claim-approve"


def open_shop(caller: Caller, **settings: str) -> str:
    """Starts the application with a shop and registers a patch to it; answers its txid."""
    caller.start(POS_SHOP_ADDRESSES=SHOP.address, **settings)
    caller.lab.fill_pool(4)
    txid = caller.register(UID, SHOP).json
    anchoring.anchor_due(10)
    assert txid is not None
    record = AuthenticationRecord.objects.get(uid_tag_id=UID)
    return str(record.head)


def body_of(customer: Owner, uid: str = UID, **changes: Any) -> dict[str, Any]:
    """A claim as it is sent; `changes` count before it is signed."""
    claim = signed_claim(customer, uid, **changes)
    return {
        "uid": claim.uid_tag_id,
        "customer": {
            "address": claim.address,
            "userId": "507f1f77bcf86cd799439011",
            "pubKey": claim.public_key_hex,
        },
        "challenge": {"ts": claim.ts, "nonce": claim.nonce},
        "signature": claim.signature_der_hex,
    }


def send_claim(caller: Caller, body: dict[str, Any]) -> TestResponse:
    """Sends a claim; nobody needs a key for that."""
    return caller.post(INTENT, body, headers={"x-api-key": ""})


def claimed(caller: Caller, customer: Owner) -> str:
    response = send_claim(caller, body_of(customer))
    assert response.status_code == 201, response.get_data(as_text=True)
    return str(response.json["id"])


def approve(caller: Caller, claim_id: str, **changes: Any) -> TestResponse:
    return caller.post(APPROVE, {"intentId": claim_id, "approvedBy": "Ann", **changes})


def status_of(caller: Caller, claim_id: str) -> Any:
    response = caller.get(f"/v1/pos/claim-status/{claim_id}")
    assert response.status_code == 200, response.get_data(as_text=True)
    return response.json


def code_of(response: TestResponse) -> tuple[int, str]:
    assert response.json is not None
    return response.status_code, str(response.json["code"])


@pytest.mark.parametrize("jobs_async", ["0", "1"])
def test_f7_f19_a_sale_from_the_shop_to_the_customers_own_transfer(
    caller: Caller, jobs_async: str
) -> None:
    registered = open_shop(caller, JOBS_ASYNC=jobs_async)
    customer = Owner()

    response = send_claim(caller, body_of(customer))
    assert (response.status_code, set(response.json or {})) == (201, {"id", "status"})
    claim_id = (response.json or {})["id"]
    assert (response.json or {})["status"] == "pending"
    assert response.headers["Location"] == f"/v1/pos/claim-status/{claim_id}"
    assert status_of(caller, claim_id) == {
        "id": claim_id,
        "status": "pending",
        "txid": None,
        "error": None,
        "approvedBy": None,
    }

    response = approve(caller, claim_id)
    approved: Any = response.json
    assert response.status_code == 200
    assert set(approved) == {"id", "status", "pendingId", "jobId"}
    assert (approved["id"], approved["status"]) == (claim_id, "approved")
    assert (approved["jobId"] is None) == (jobs_async == "0")
    anchoring.anchor_due(10)

    pending: Any = caller.get(f"/v1/patches/pending/transfer/{approved['pendingId']}").json
    assert pending["status"] == "confirmed"
    assert status_of(caller, claim_id) == {
        "id": claim_id,
        "status": "confirmed",
        "txid": pending["txid"],
        "error": None,
        "approvedBy": "Ann",
    }
    result: Any = caller.get(f"/v1/patches/verify/{UID}").json
    assert result["status"] == "authentic"
    assert result["verificationDetails"]["findings"] == []
    assert result["verificationDetails"]["movedBy"] == "point_of_sale"
    assert result["record"]["auth"]["owner"] == customer.address
    assert result["record"]["auth"]["previous_owner"] == SHOP.address
    assert "Ann" not in str(result)
    events: Any = caller.get(f"/v1/patches/{UID}/history").json["events"]
    assert [(e["prev_txid"], e["moved_by"], e["owner"]) for e in events] == [
        (None, "registration", SHOP.address),
        (registered, "point_of_sale", customer.address),
    ]
    buyer = Owner()
    assert caller.transfer(UID, pending["txid"], customer, buyer).status_code in (200, 202)
    anchoring.anchor_due(10)
    result = caller.get(f"/v1/patches/verify/{UID}").json
    assert (result["status"], result["record"]["auth"]["owner"]) == ("authentic", buyer.address)


def test_s12_a_replayed_claim_is_409(caller: Caller) -> None:
    open_shop(caller)
    customer = Owner()
    body = body_of(customer)
    assert send_claim(caller, body).status_code == 201

    assert code_of(send_claim(caller, body)) == (409, "claim_replayed")
    again = body_of(customer, nonce=body["challenge"]["nonce"])
    assert code_of(send_claim(caller, again)) == (409, "claim_replayed")
    assert ClaimIntent.objects.count() == 1


@pytest.mark.parametrize("offset_ms", [170_000, -170_000])
def test_s12_a_claim_within_the_window_counts_either_way(caller: Caller, offset_ms: int) -> None:
    open_shop(caller)
    body = body_of(Owner(), ts=unix_milliseconds(utc_now()) + offset_ms)
    assert send_claim(caller, body).status_code == 201


@pytest.mark.parametrize("offset_ms", [300_000, -300_000])
def test_s12_a_claim_out_of_the_window_is_400(caller: Caller, offset_ms: int) -> None:
    open_shop(caller)
    response = send_claim(caller, body_of(Owner(), ts=unix_milliseconds(utc_now()) + offset_ms))
    assert response.status_code == 400
    assert response.json["error"]["details"][0]["field"] == "challenge.ts"


def test_an_address_of_another_key_is_400(caller: Caller) -> None:
    open_shop(caller)
    response = send_claim(caller, body_of(Owner(), address=Owner().address))
    assert response.status_code == 400
    assert response.json["error"]["details"][0]["field"] == "customer.address"


@pytest.mark.parametrize("changed", ["uid", "nonce", "ts"])
def test_a_signature_over_another_claim_is_401(caller: Caller, changed: str) -> None:
    open_shop(caller)
    body = body_of(Owner())
    if changed == "uid":
        body["uid"] = "NFC_UID_002"
    elif changed == "nonce":
        body["challenge"]["nonce"] += "x"
    else:
        body["challenge"]["ts"] += 1
    assert code_of(send_claim(caller, body)) == (401, "invalid_claim_signature")


def test_f3_a_claim_over_the_reversed_digest_is_401(caller: Caller) -> None:
    open_shop(caller)
    customer = Owner()
    body = body_of(customer)
    message = (
        f"PATCHPROOF_CLAIM|uid:{UID}|addr:{customer.address}"
        f"|ts:{body['challenge']['ts']}|nonce:{body['challenge']['nonce']}"
    )
    assert body["signature"] == customer.sign(message.encode())
    body["signature"] = customer.key.sign(digest(message.encode())[::-1]).hex()
    assert send_claim(caller, body).status_code == 401


def test_a_claim_of_an_unknown_patch_is_404(caller: Caller) -> None:
    assert send_claim(caller, body_of(Owner(), "NFC_nobody")).status_code == 404


@pytest.mark.parametrize("claim_id", ["x", "0" * 24, "0" * 5000, "%00", "%F0%9F%98%80", "a.b"])
def test_a_claim_that_nobody_knows_is_404(caller: Caller, claim_id: str) -> None:
    assert caller.get(f"/v1/pos/claim-status/{claim_id}").status_code == 404


@pytest.mark.parametrize("claim_id", ["x", "0" * 24, "0" * 256])
def test_an_approval_of_an_unknown_claim_is_404(caller: Caller, claim_id: str) -> None:
    assert approve(caller, claim_id).status_code == 404


def test_m10_a_second_approval_is_409(caller: Caller) -> None:
    open_shop(caller)
    claim_id = claimed(caller, Owner())
    assert approve(caller, claim_id).status_code == 200

    assert code_of(approve(caller, claim_id, approvedBy="Bob")) == (409, "claim_not_pending")
    assert status_of(caller, claim_id)["approvedBy"] == "Ann"


def test_an_approval_that_comes_too_late_is_409_and_ends_the_claim(caller: Caller) -> None:
    open_shop(caller)
    claim_id = claimed(caller, Owner())
    caller.lab.pass_time()

    assert code_of(approve(caller, claim_id)) == (409, "claim_expired")
    assert status_of(caller, claim_id)["status"] == "expired"


def test_the_window_is_a_setting(caller: Caller) -> None:
    open_shop(caller, CLAIM_INTENT_TTL_MS="60000")
    late = body_of(Owner(), ts=unix_milliseconds(utc_now()) - 100_000)
    assert send_claim(caller, late).status_code == 400
    claim = ClaimIntent.find(claimed(caller, Owner()))
    assert claim is not None
    assert (claim.expires_at - claim.created_at).total_seconds() == 60


def test_s13_a_customers_patch_needs_the_customers_word(caller: Caller) -> None:
    open_shop(caller)
    seller, buyer = Owner(), Owner()
    assert approve(caller, claimed(caller, seller)).status_code == 200
    claim_id = claimed(caller, buyer)

    response = approve(caller, claim_id)

    assert code_of(response) == (403, "owner_signature_required")
    details = (response.json or {})["error"]["details"]
    assert [each["field"] for each in details] == ["currentOwnerSignature", "currentOwnerPubKey"]
    # The details say what to sign.
    head = (caller.get(f"/v1/patches/verify/{UID}").json or {})["verificationDetails"]
    message = transfer_message(UID, head["onChainTxid"], buyer.address)
    assert details[0]["message"] == f"must sign {message.decode()}"
    word = {
        "currentOwnerSignature": seller.sign(message),
        "currentOwnerPubKey": seller.public_key_hex,
    }
    stranger = {**word, "currentOwnerPubKey": Owner().public_key_hex}
    assert code_of(approve(caller, claim_id, **stranger)) == (403, "not_owner")
    forged = {**word, "currentOwnerSignature": seller.sign(b"something else")}
    assert code_of(approve(caller, claim_id, **forged)) == (403, "invalid_owner_signature")
    assert approve(caller, claim_id, **word).status_code == 200
    result: Any = caller.get(f"/v1/patches/verify/{UID}").json
    assert result["status"] == "authentic"
    assert result["verificationDetails"]["movedBy"] == "point_of_sale_owner_signature"
    assert result["record"]["auth"]["current_owner_pubkey"] == seller.public_key_hex


def test_m8_a_patch_that_is_being_handed_on_is_409(caller: Caller) -> None:
    txid = open_shop(caller, JOBS_ASYNC="1")
    claim_id = claimed(caller, Owner())
    assert caller.transfer(UID, txid, SHOP, Owner()).status_code == 202

    assert code_of(approve(caller, claim_id)) == (409, "patch_moved")
    anchoring.anchor_due(10)
    assert code_of(approve(caller, claim_id)) == (409, "patch_moved")
    assert status_of(caller, claim_id)["status"] == "pending"


def test_m10_two_approvals_at_two_instances_make_one_transfer(caller: Caller) -> None:
    open_shop(caller, JOBS_ASYNC="1")
    claim_id = claimed(caller, Owner())
    apps = [caller.app, _another_instance(caller)]

    answers = at_once(8, lambda number: _approve_at(caller, apps[number % 2], claim_id, number))

    statuses = [answer if isinstance(answer, Exception) else answer[0] for answer in answers]
    assert sorted(map(str, statuses)) == ["200", *["409"] * 7]
    winner = statuses.index(200)
    assert AuthenticationRecord.objects(kind="TRANSFER").count() == 1
    anchoring.anchor_due(10)
    told = status_of(caller, claim_id)
    assert (told["status"], told["approvedBy"]) == ("confirmed", f"cashier {winner}")


def test_redis_away_costs_an_approval_nothing(caller: Caller) -> None:
    open_shop(caller, JOBS_ASYNC="1")
    claim_id = claimed(caller, Owner())
    caller.start(POS_SHOP_ADDRESSES=SHOP.address, JOBS_ASYNC="1", REDIS_URL="redis://127.0.0.1:1/0")

    response = approve(caller, claim_id)

    assert (response.status_code, (response.json or {})["jobId"]) == (200, None)
    anchoring.anchor_due(10)
    assert status_of(caller, claim_id)["status"] == "confirmed"


def test_a_database_away_is_503_on_every_route(caller: Caller) -> None:
    body = body_of(Owner())
    caller.start(
        MONGODB_URI="mongodb://127.0.0.1:1/?directConnection=true",
        DB_SERVER_SELECTION_TIMEOUT_MS="100",
    )
    answers: Sequence[TestResponse] = (
        send_claim(caller, body),
        approve(caller, "0" * 24),
        caller.get(f"/v1/pos/claim-status/{'0' * 24}"),
    )
    assert {response.status_code for response in answers} == {503}


def _another_instance(caller: Caller) -> Flask:
    settings = extensions.get().settings
    environ = {
        **caller.lab.env,
        **PATIENCE,
        "JOBS_ASYNC": "1",
        "POS_SHOP_ADDRESSES": settings.pos_shop_addresses[0],
    }
    return create_app(environ=environ)


def _approve_at(caller: Caller, app: Flask, claim_id: str, number: int) -> tuple[int, Any]:
    response = app.test_client().post(
        APPROVE,
        json={"intentId": claim_id, "approvedBy": f"cashier {number}"},
        headers={"x-api-key": caller.lab.env["API_KEY"]},
    )
    return response.status_code, response.json
