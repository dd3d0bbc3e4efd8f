"""The main job over HTTP, through the real processes, with every step asserted."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from app.domain.envelope import Envelope, Kind, record_digest
from demo import evidence
from demo.sealing import seal
from patchproof_client import (
    AuthenticationError,
    OwnerKey,
    PatchMovedError,
    PatchProofClient,
    PermissionDeniedError,
    Unlocked,
    Verification,
)
from patchproof_client.messages import unlock_message
from tests.e2e.system import System, at_once, is_valid_elsewhere

PENDING_ORDER = ["pending", "anchoring", "confirmed"]


def test_registration_is_accepted_then_pending_then_confirmed(system: System) -> None:
    [product], owner = system.make_products(1), system.make_owner()
    body = {
        "product": dict(product.product),
        "metadata": dict(product.metadata),
        "auth": {"owner": owner.address},
    }
    answer = system.send("POST", "/v1/patches", json=body, headers=system.api_key)
    assert answer.status_code == 202
    accepted = answer.json()
    assert accepted["uid_tag_id"] == product.uid_tag_id
    assert accepted["jobId"]
    path = f"/v1/patches/pending/registration/{accepted['pendingId']}"
    assert answer.headers["Location"] == path

    seen = _follow(system, path)
    assert [each["status"] for each in seen] == sorted(
        (each["status"] for each in seen), key=PENDING_ORDER.index
    ), "a status went back"
    for waiting in seen[:-1]:
        assert waiting["certificateUrl"] is None
    confirmed = seen[-1]
    assert confirmed["id"] == accepted["pendingId"]
    assert confirmed["error"] is None
    assert len(bytes.fromhex(confirmed["txid"])) == 32
    assert confirmed["txid"] in confirmed["certificateUrl"]
    assert confirmed["txid"] in system.envelopes()


def test_patch_goes_from_the_brand_to_two_owners(system: System) -> None:
    [product] = system.make_products(1)
    uid, client = product.uid_tag_id, system.client
    first, second = system.make_owner(), system.make_owner()

    registered = system.register_confirmed(product, first)
    fresh = client.verify(uid)
    assert fresh.details.block_height is None
    assert fresh.details.confirmations == 0
    height = system.chain.mine()
    mined = system.verify_mined(uid, is_woken=False)
    assert mined.details.block_height == height
    assert mined.details.confirmations == 1
    _check_authentic(system, mined, txid=registered, owner=first.address)
    assert mined.record["product"] == product.product
    assert mined.record["metadata"] == product.metadata

    accepted = client.transfer(uid, registered, first, second.address)
    handed_on = system.confirm(accepted)
    assert handed_on != registered
    system.chain.mine(2)
    verified = system.verify_mined(uid)
    assert verified.details.block_height == height + 1
    _check_authentic(system, verified, txid=handed_on, owner=second.address)
    assert verified.record["auth"]["prev_txid"] == registered

    events = client.history(uid)
    assert [event.kind for event in events] == ["REGISTRATION", "TRANSFER"], "oldest first"
    assert [event.txid for event in events] == [registered, handed_on]
    assert [event.prev_txid for event in events] == [None, registered]
    assert [event.owner for event in events] == [first.address, second.address]
    assert [event.block_height for event in events] == [height, height + 1]


def test_confirmations_grow_with_the_chain(system: System) -> None:
    [product] = system.make_products(1)
    system.register_confirmed(product, system.make_owner())
    height = system.chain.mine(4)
    mined = system.verify_mined(product.uid_tag_id)
    assert mined.details.block_height == height - 3
    assert mined.details.confirmations == 4


def test_owner_unlocks_sealed_content_once_a_nonce(system: System) -> None:
    [product], owner = system.make_products(1), system.make_owner()
    uid, client = product.uid_tag_id, system.client
    txid = system.register_confirmed(product, owner)
    text = f"Pflegehinweise für {product.name}: 30 °C, 手洗い"
    sealed = seal(text, uid_tag_id=uid, master_secret=system.exports["MASTER_SECRET"])

    nonce = client.create_unlock_challenge(uid)
    with pytest.raises(PermissionDeniedError):
        _unlock(system, uid, txid, system.make_owner(), nonce, sealed)
    unlocked = _unlock(system, uid, txid, owner, nonce, sealed)
    assert (unlocked.txid, unlocked.content) == (txid, text), "a stranger used no nonce up"

    with pytest.raises(PermissionDeniedError) as used:
        _unlock(system, uid, txid, owner, nonce, sealed)
    assert used.value.code == "invalid_nonce"
    assert client.unlock(uid, owner, sealed=sealed).content == text


def test_unlocking_wants_a_nonce(system: System) -> None:
    [product], owner = system.make_products(1), system.make_owner()
    txid = system.register_confirmed(product, owner)
    body = {
        "ownerPubKey": owner.public_key_hex,
        "ownerSignature": owner.sign(unlock_message(product.uid_tag_id, txid, None)),
    }
    path = f"/v1/patches/{product.uid_tag_id}/unlock-content"
    answer = system.send("POST", path, json=body, headers=system.api_key)
    assert answer.status_code == 400
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == ["nonce"]


def test_former_owner_has_no_say(system: System) -> None:
    [product] = system.make_products(1)
    uid, client = product.uid_tag_id, system.client
    seller, buyer = system.make_owner(), system.make_owner()
    registered = system.register_confirmed(product, seller)
    accepted = client.transfer(uid, registered, seller, buyer.address)
    head = system.confirm(accepted)

    with pytest.raises(PatchMovedError):
        client.transfer(uid, registered, seller, seller.address)
    with pytest.raises(PermissionDeniedError):
        client.transfer(uid, head, seller, seller.address)
    with pytest.raises(PermissionDeniedError):
        client.unlock(uid, seller)
    assert [event.txid for event in client.history(uid)] == [registered, head]


def test_credentials_are_asked_for(system: System) -> None:
    [product], owner = system.make_products(1), system.make_owner()
    body = {"product": dict(product.product), "auth": {"owner": owner.address}}
    assert system.send("POST", "/v1/patches", json=body).status_code == 401
    txid = system.register_confirmed(product, owner)
    with PatchProofClient(system.exports["BASE_URL"]) as stranger:
        stranger.use_token("no.token.this")
        with pytest.raises(AuthenticationError) as refused:
            stranger.transfer(product.uid_tag_id, txid, owner, owner.address)
    assert refused.value.code == "token_invalid"
    assert len(system.client.history(product.uid_tag_id)) == 1


def test_raw_transactions_are_valid_for_other_software(system: System) -> None:
    [product] = system.make_products(1)
    seller, buyer = system.make_owner(), system.make_owner()
    txid = system.register_confirmed(product, seller)
    accepted = system.client.transfer(product.uid_tag_id, txid, seller, buyer.address)
    system.confirm(accepted)
    ours = {row["txid"] for row in system.transactions() if row["status"] != "abandoned"}
    assert len(ours) >= 3, "a split, a registration and a transfer at least"
    for each in system.chain.load(ours).values():
        assert is_valid_elsewhere(each.transaction)
        assert each.transaction.fee_satoshis > 0


def test_many_products_are_registered_side_by_side(system: System) -> None:
    products, owner = system.make_products(25), system.make_owner()
    txids = at_once(
        [partial(system.register_confirmed, product, owner) for product in products],
        threads=4,
    )
    assert len(set(txids)) == 25
    assert set(txids) <= system.envelopes().keys()
    system.chain.mine()
    for product, txid in zip(products, txids, strict=True):
        answer = system.verify_mined(product.uid_tag_id)
        _check_authentic(system, answer, txid=txid, owner=owner.address)


def _unlock(
    system: System, uid: str, txid: str, owner: OwnerKey, nonce: str, sealed: dict[str, str]
) -> Unlocked:
    """Unlocks with a nonce that is there already."""
    return system.client.unlock_with_nonce(
        uid,
        nonce=nonce,
        public_key_hex=owner.public_key_hex,
        signature_hex=owner.sign(unlock_message(uid, txid, nonce)),
        sealed=sealed,
    )


def _follow(system: System, path: str) -> list[dict[str, Any]]:
    """Every answer of a pending route until the record is confirmed."""
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["status"] != "confirmed":
        assert len(seen) < 3000, seen[-1]
        answer = system.send("GET", path)
        assert answer.status_code == 200
        seen.append(answer.json())
    return seen


def _check_authentic(system: System, answer: Verification, *, txid: str, owner: str) -> None:
    """What verify says agrees with the chain, and with the salt that the operator keeps."""
    assert answer.status == "authentic", answer.details.findings
    assert answer.details.issuer_signature_valid
    assert answer.details.txid == txid
    assert answer.record["auth"]["owner"] == owner
    on_chain = system.chain.load([txid])[txid]
    evidence.check(answer, on_chain, system.exports["ISSUER_PUBLIC_KEYS"].split(","))
    [stored] = system.records(txid=txid)
    digest = record_digest(bytes(stored["salt"]), answer.record)
    data = [o.locking_script for o in on_chain.transaction.outputs if o.satoshis == 0]
    envelope = Envelope.from_locking_script(data[0])
    assert envelope.kind is (Kind.TRANSFER if stored["kind"] == "TRANSFER" else Kind.REGISTRATION)
    assert digest.encode() in envelope.payload
