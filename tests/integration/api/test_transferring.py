"""Transfers over HTTP: the owner's word, once, for the present head."""

from __future__ import annotations

from typing import Any

import pytest

from app.services import anchoring
from tests.integration.api.caller import Caller
from tests.integration.services.lab import Owner

UID = "NFC_UID_001"


def verified(caller: Caller) -> Any:
    return caller.get(f"/v1/patches/verify/{UID}").json


def test_f2_f3_owner_signed_transfer_is_answered_with_its_transaction(caller: Caller) -> None:
    caller.lab.fill_pool(2)
    owner, new_owner = Owner(), Owner()
    txid = caller.registered(UID, owner)
    response = caller.transfer(UID, txid, owner, new_owner)

    assert response.status_code == 200
    body: Any = response.json
    assert set(body) == {"message", "newTxid"}
    assert body["newTxid"] in caller.lab.chain_transactions()
    assert verified(caller)["verificationDetails"]["onChainTxid"] == body["newTxid"]


def test_f9_transferred_patch_is_authentic(caller: Caller) -> None:
    caller.lab.fill_pool(2)
    owner, new_owner = Owner(), Owner()
    txid = caller.registered(UID, owner)
    caller.transfer(UID, txid, owner, new_owner)
    result = verified(caller)
    assert result["status"] == "authentic"
    assert result["verificationDetails"]["issuerSignatureValid"] is True
    assert result["verificationDetails"]["findings"] == []
    assert result["record"]["auth"]["owner"] == new_owner.address


def test_d4_the_authorisation_is_kept(caller: Caller) -> None:
    caller.lab.fill_pool(2)
    owner = Owner()
    txid = caller.registered(UID, owner)
    caller.transfer(UID, txid, owner, Owner())
    auth = verified(caller)["record"]["auth"]
    assert auth["prev_txid"] == txid
    assert auth["current_owner_pubkey"] == owner.public_key_hex
    assert auth["current_owner_signature"]


def test_queued_transfer_can_be_followed_on_either_path(caller: Caller) -> None:
    caller.lab.fill_pool(2)
    owner = Owner()
    txid = caller.registered(UID, owner)
    caller.start(JOBS_ASYNC="1")
    response = caller.transfer(UID, txid, owner, Owner())

    assert response.status_code == 202
    body: Any = response.json
    assert set(body) == {"message", "jobId", "uid_tag_id", "pendingId"}
    assert response.headers["Location"] == f"/v1/patches/pending/transfer/{body['pendingId']}"
    anchoring.anchor_due(10)
    transfer: Any = caller.get(f"/v1/patches/pending/transfer/{body['pendingId']}").json
    assert transfer["status"] == "confirmed"
    assert "certificateUrl" not in transfer
    registration: Any = caller.get(f"/v1/patches/pending/registration/{body['pendingId']}").json
    assert {**transfer, "certificateUrl": registration["certificateUrl"]} == registration


def test_txid_counts_as_it_was_written(caller: Caller) -> None:
    caller.lab.fill_pool(2)
    owner = Owner()
    txid = caller.registered(UID, owner)
    assert caller.transfer(UID, txid.upper(), owner, Owner()).status_code == 200


def test_stranger_is_403(caller: Caller) -> None:
    caller.lab.fill_pool(1)
    txid = caller.registered(UID, Owner())
    response = caller.transfer(UID, txid, Owner(), Owner())
    assert response.status_code == 403
    assert response.json["code"] == "not_owner"


@pytest.mark.parametrize("forged", ["other uid", "other txid", "other new owner"])
def test_signature_over_something_else_is_403(caller: Caller, forged: str) -> None:
    caller.lab.fill_pool(1)
    owner = Owner()
    txid = caller.registered(UID, owner)
    if forged == "other uid":
        response = caller.transfer("NFC_UID_002", txid, owner, Owner())
    elif forged == "other txid":
        response = caller.transfer(
            UID, txid, owner, Owner(), currentOwnerSignature=owner.sign(b"other")
        )
    else:
        response = caller.transfer(UID, txid, owner, Owner(), newOwnerAddress=Owner().address)
    assert response.status_code == 403
    assert response.json["code"] == "invalid_owner_signature"


def test_unknown_txid_is_404(caller: Caller) -> None:
    assert caller.transfer(UID, "aa" * 32, Owner(), Owner()).status_code == 404


def test_m8_a_superseded_txid_is_409(caller: Caller) -> None:
    caller.lab.fill_pool(3)
    owner, second = Owner(), Owner()
    txid = caller.registered(UID, owner)
    assert caller.transfer(UID, txid, owner, second).status_code == 200
    response = caller.transfer(UID, txid, owner, Owner())
    assert response.status_code == 409
    assert response.json["code"] == "patch_moved"


def test_m8_a_second_transfer_of_one_head_is_409_at_once(caller: Caller) -> None:
    caller.lab.fill_pool(3)
    owner = Owner()
    txid = caller.registered(UID, owner)
    caller.start(JOBS_ASYNC="1")
    before = caller.lab.accepted_count()
    assert caller.transfer(UID, txid, owner, Owner()).status_code == 202
    assert caller.transfer(UID, txid, owner, Owner()).status_code == 409
    anchoring.anchor_due(10)
    assert caller.lab.accepted_count() == before + 1


def test_empty_pool_is_503_and_the_transfer_can_be_sent_again(caller: Caller) -> None:
    caller.lab.fill_pool(1, satoshis=200)
    owner, new_owner = Owner(), Owner()
    txid = caller.registered(UID, owner)
    for coin in caller.lab.collection("utxos").find({"status": "available"}):
        caller.lab.collection("utxos").delete_one({"_id": coin["_id"]})
    response = caller.transfer(UID, txid, owner, new_owner)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0

    caller.lab.fill_pool(1)
    assert caller.transfer(UID, txid, owner, new_owner).status_code == 200
