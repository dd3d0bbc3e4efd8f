"""Unlocking over HTTP: the owner, once for each nonce."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.api.caller import Caller
from tests.integration.services.lab import Owner

UID = "NFC_UID_001"
# The contract's vector, for the master secret `vector-master-secret` and this uid.
VECTOR = {
    "wrapIvB64": "AQIDBAUGBwgJCgsM",
    "wrappedKeyB64": "EhxCkbH6GoinqJ0rOw3WepxGMziSFDiDUiriI5/jDhYBK8vQ6QsU10FLKPN18pP+",
    "cipherIvB64": "DAsKCQgHBgUEAwIB",
    "ciphertextB64": "Va8eFz44EUrq1k9xNzwU7u8BGRWqeRunjD+k",
}


@pytest.fixture
def owner(caller: Caller) -> Owner:
    """The owner of a registered patch, whose content opens with the vector's secret."""
    caller.start(MASTER_SECRET="vector-master-secret")
    caller.lab.fill_pool(2)
    return Owner()


@pytest.fixture
def txid(caller: Caller, owner: Owner) -> str:
    return caller.registered(UID, owner)


def code_of(response: Any) -> str:
    return str(response.json["code"])


def test_owner_is_authorised(caller: Caller, owner: Owner, txid: str) -> None:
    response = caller.unlock(UID, txid, owner, caller.challenge(UID))
    assert response.status_code == 200
    assert response.json == {"authorized": True, "uid_tag_id": UID, "txid": txid}


def test_f8_sealed_content_is_opened(caller: Caller, owner: Owner, txid: str) -> None:
    response = caller.unlock(UID, txid, owner, caller.challenge(UID), **VECTOR)
    assert response.status_code == 200
    assert response.json["content"] == "hello patch"


@pytest.mark.parametrize("field", VECTOR)
def test_f29_sealed_content_that_does_not_open_is_400(
    caller: Caller, owner: Owner, txid: str, field: str
) -> None:
    damaged = VECTOR[field].replace(VECTOR[field][0], "B" if VECTOR[field][0] != "B" else "C", 1)
    response = caller.unlock(UID, txid, owner, caller.challenge(UID), **{**VECTOR, field: damaged})
    assert response.status_code == 400
    assert code_of(response) == "invalid_request"


def test_challenge_tells_when_it_ends(caller: Caller, txid: str) -> None:
    body: Any = caller.post(f"/v1/patches/{UID}/unlock-challenge").json
    assert set(body) == {"nonce", "expiresAt"}
    left = datetime.fromisoformat(body["expiresAt"]) - datetime.now(UTC)
    assert timedelta(seconds=170) < left < timedelta(seconds=181)


def test_s11_a_nonce_works_once(caller: Caller, owner: Owner, txid: str) -> None:
    nonce = caller.challenge(UID)
    assert caller.unlock(UID, txid, owner, nonce).status_code == 200
    again = caller.unlock(UID, txid, owner, nonce)
    assert again.status_code == 403
    assert code_of(again) == "invalid_nonce"


def test_s11_a_signature_without_nonce_is_refused(caller: Caller, owner: Owner, txid: str) -> None:
    response = caller.unlock(UID, txid, owner, None)
    assert response.status_code == 400
    assert response.json["error"]["details"][0]["field"] == "nonce"


def test_a_signature_without_nonce_is_accepted_by_setting(
    caller: Caller, owner: Owner, txid: str
) -> None:
    caller.start(UNLOCK_ALLOW_STATIC="1")
    assert caller.unlock(UID, txid, owner, None).status_code == 200


def test_a_nonce_of_another_patch_is_403(caller: Caller, owner: Owner, txid: str) -> None:
    caller.registered("NFC_UID_002", owner)
    response = caller.unlock(UID, txid, owner, caller.challenge("NFC_UID_002"))
    assert response.status_code == 403


def test_a_stranger_gets_nothing_and_burns_nothing(caller: Caller, owner: Owner, txid: str) -> None:
    nonce = caller.challenge(UID)
    response = caller.unlock(UID, txid, Owner(), nonce)
    assert response.status_code == 403
    assert code_of(response) == "not_owner"
    assert caller.unlock(UID, txid, owner, nonce).status_code == 200


def test_a_signature_over_an_old_head_is_403(caller: Caller, owner: Owner, txid: str) -> None:
    response = caller.unlock(UID, "aa" * 32, owner, caller.challenge(UID))
    assert response.status_code == 403
    assert code_of(response) == "invalid_owner_signature"


def test_the_former_owner_is_403_after_a_transfer(caller: Caller, owner: Owner, txid: str) -> None:
    new_owner = Owner()
    new_txid = str(caller.transfer(UID, txid, owner, new_owner).json["newTxid"])
    former = caller.unlock(UID, new_txid, owner, caller.challenge(UID))
    assert former.status_code == 403
    present = caller.unlock(UID, new_txid, new_owner, caller.challenge(UID))
    assert present.status_code == 200


def test_unknown_patch_is_404(caller: Caller) -> None:
    assert caller.post("/v1/patches/NFC_NONE/unlock-challenge").status_code == 404
    assert caller.unlock("NFC_NONE", "aa" * 32, Owner(), "n").status_code == 404


def test_redis_away_is_503(caller: Caller, owner: Owner, txid: str) -> None:
    nonce = caller.challenge(UID)
    caller.start(REDIS_URL="redis://127.0.0.1:1/0", REDIS_PASSWORD="x")
    assert caller.post(f"/v1/patches/{UID}/unlock-challenge").status_code == 503
    assert caller.unlock(UID, txid, owner, nonce).status_code == 503
