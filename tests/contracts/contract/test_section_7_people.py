"""Section 7: claims at the till, privacy, certificates."""

from __future__ import annotations

import time
from typing import Any

import pytest

from app.config import Settings
from tests.contracts.contract.wire import Wire, claim_body, code_of, fields_of
from tests.integration.services.lab import Owner

TXID = "ab" * 32


@pytest.fixture
def shop(wire: Wire) -> Owner:
    """A shop whose till may sell."""
    owner = Owner()
    wire.start(POS_SHOP_ADDRESSES=owner.address)
    return owner


# 7.1


def test_7_1_a_claim_is_kept_and_waits(wire: Wire) -> None:
    uid, _ = wire.registered(Owner())

    answer = wire.claim(uid, Owner())

    assert (answer.status_code, set(answer.json())) == (201, {"id", "status"})
    assert answer.json()["status"] == "pending"
    assert answer.headers["Location"] == f"/v1/pos/claim-status/{answer.json()['id']}"


@pytest.mark.parametrize("change", ["uid", "customer", "challenge", "signature"])
def test_7_1_every_member_is_needed(wire: Wire, change: str) -> None:
    body = claim_body("NFC-1", Owner())
    del body[change]

    answer = wire.post("/v1/pos/claim-intent", body)

    assert (answer.status_code, fields_of(answer)) == (400, {change})


def test_7_1_unknown_members_are_refused_at_every_depth(wire: Wire) -> None:
    body = claim_body("NFC-1", Owner())
    body["customer"]["name"] = "Ann"
    body["challenge"]["more"] = 1
    body["more"] = 1

    answer = wire.post("/v1/pos/claim-intent", body)

    assert fields_of(answer) == {"customer.name", "challenge.more", "more"}


@pytest.mark.parametrize("offset_ms", [-200_000, 200_000])
def test_7_1_a_claim_of_another_time_is_400(wire: Wire, offset_ms: int) -> None:
    uid, _ = wire.registered(Owner())
    body = claim_body(uid, Owner(), time.time_ns() // 1_000_000 + offset_ms)

    answer = wire.post("/v1/pos/claim-intent", body)

    assert (answer.status_code, fields_of(answer)) == (400, {"challenge.ts"})


def test_7_1_a_claim_may_be_three_minutes_off_unless_told_otherwise() -> None:
    assert Settings.model_fields["claim_intent_ttl_ms"].default == 180_000


def test_7_1_an_address_of_another_key_is_400(wire: Wire) -> None:
    uid, _ = wire.registered(Owner())
    body = claim_body(uid, Owner())
    body["customer"]["pubKey"] = Owner().public_key_hex

    assert wire.post("/v1/pos/claim-intent", body).status_code == 400


@pytest.mark.parametrize(
    ("part", "value"),
    [("nonce", "12345"), ("nonce", "x" * 129), ("ts", "1700000000000"), ("ts", 1.5)],
)
def test_7_1_challenges_have_their_bounds(wire: Wire, part: str, value: Any) -> None:
    body = claim_body("NFC-1", Owner())
    body["challenge"][part] = value

    answer = wire.post("/v1/pos/claim-intent", body)

    assert (answer.status_code, fields_of(answer)) == (400, {f"challenge.{part}"})


def test_7_1_a_wrong_signature_is_401_an_unknown_patch_404_a_replay_409(wire: Wire) -> None:
    uid, _ = wire.registered(Owner())
    customer = Owner()
    body = claim_body(uid, customer)

    forged = wire.post("/v1/pos/claim-intent", {**body, "signature": customer.sign(b"other")})
    assert code_of(forged) == (401, "invalid_claim_signature")
    assert code_of(wire.claim("nobody-has-it", customer)) == (404, "not_found")
    assert wire.post("/v1/pos/claim-intent", body).status_code == 201
    assert code_of(wire.post("/v1/pos/claim-intent", body)) == (409, "claim_replayed")


# 7.2, 7.3


def approve(wire: Wire, claim_id: str, **more: Any) -> Any:
    return wire.keyed("/v1/pos/claim-approve", {"intentId": claim_id, "approvedBy": "Ann", **more})


def test_7_2_an_approval_makes_the_patch_the_customers(wire: Wire, shop: Owner) -> None:
    uid, _ = wire.registered(shop)
    customer = Owner()
    claim_id = wire.claim(uid, customer).json()["id"]

    answer = approve(wire, claim_id)

    assert (answer.status_code, set(answer.json())) == (200, {"id", "status", "pendingId", "jobId"})
    assert (answer.json()["id"], answer.json()["status"]) == (claim_id, "approved")
    auth = wire.get(f"/v1/patches/verify/{uid}").json()["record"]["auth"]
    assert (auth["owner"], auth["previous_owner"]) == (customer.address, shop.address)
    assert auth["pos_approved_by"]
    assert code_of(approve(wire, claim_id)) == (409, "claim_not_pending")


def test_7_2_unknown_claims_are_404_and_unknown_members_400(wire: Wire) -> None:
    assert code_of(approve(wire, "ab" * 12)) == (404, "not_found")
    assert code_of(approve(wire, "no id at all")) == (404, "not_found")
    assert fields_of(approve(wire, "ab" * 12, more=1)) == {"more"}


def test_7_2_anybody_elses_patch_needs_their_word(wire: Wire) -> None:
    uid, _ = wire.registered(Owner())
    claim_id = wire.claim(uid, Owner()).json()["id"]

    assert code_of(approve(wire, claim_id)) == (403, "owner_signature_required")


def test_7_2_an_approval_that_comes_too_late_is_409_and_ends_the_claim(
    wire: Wire, shop: Owner
) -> None:
    uid, _ = wire.registered(shop)
    claim_id = wire.claim(uid, Owner()).json()["id"]
    wire.lab.pass_time(600)

    assert code_of(approve(wire, claim_id)) == (409, "claim_expired")
    assert wire.get(f"/v1/pos/claim-status/{claim_id}").json()["status"] == "expired"


def test_7_3_a_claim_can_be_followed(wire: Wire, shop: Owner) -> None:
    uid, _ = wire.registered(shop)
    claim_id = wire.claim(uid, Owner()).json()["id"]
    waiting = wire.get(f"/v1/pos/claim-status/{claim_id}")
    approve(wire, claim_id)
    done = wire.get(f"/v1/pos/claim-status/{claim_id}").json()

    assert waiting.json() == {
        "id": claim_id,
        "status": "pending",
        "txid": None,
        "error": None,
        "approvedBy": None,
    }
    assert (done["status"], done["error"], done["approvedBy"]) == ("confirmed", None, "Ann")
    head = wire.get(f"/v1/patches/verify/{uid}").json()["verificationDetails"]["onChainTxid"]
    assert done["txid"] == head


@pytest.mark.parametrize("claim_id", ["x", "ab" * 12, "ab" * 40])
def test_7_3_ids_that_name_nothing_are_404(wire: Wire, claim_id: str) -> None:
    assert code_of(wire.get(f"/v1/pos/claim-status/{claim_id}")) == (404, "not_found")


# 7.4 to 7.6


def test_7_4_an_export_is_a_page_of_what_is_held(wire: Wire) -> None:
    answer = wire.get("/v1/privacy/export", headers=wire.token("somebody"))

    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert answer.json()["subject"] == "somebody"
    assert answer.headers["Cache-Control"] == "no-store"


def test_7_5_a_deletion_says_what_is_gone_and_what_remains(wire: Wire) -> None:
    answer = wire.send("DELETE", "/v1/privacy/delete", headers=wire.token("somebody-else"))

    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert answer.json()["subject"] == "somebody-else"
    assert answer.json()["status"] in ("done", "waiting")
    assert answer.headers["Cache-Control"] == "no-store"


def test_7_6_a_key_has_to_sign_that_it_is_somebodys(wire: Wire) -> None:
    owner = Owner()
    message = (
        f'{{"purpose":"prove_privacy_key","subject":"prover","pubKey":"{owner.public_key_hex}"}}'
    )
    body = {"pubKey": owner.public_key_hex, "signature": owner.sign(message.encode())}

    forged = wire.post(
        "/v1/privacy/keys", {**body, "signature": owner.sign(b"x")}, headers=wire.token("prover")
    )
    answer = wire.post("/v1/privacy/keys", body, headers=wire.token("prover"))

    assert code_of(forged) == (401, "invalid_key_proof")
    assert answer.status_code == 201
    assert set(answer.json()) == {"success", "publicKey", "address", "provenAt"}
    assert answer.json()["address"] == owner.address


# 7.7 to 7.9


def certificate(wire: Wire) -> tuple[str, dict[str, str]]:
    """A registered patch's txid, and the query of its certificate."""
    uid, txid = wire.registered(Owner())
    found = wire.get(f"/v1/patches/verify/{uid}").json()
    return txid, {"dataHash": found["metadata_sha256"], "txid": txid}


def test_7_7_the_page_shows_what_is_proven(wire: Wire) -> None:
    txid, query = certificate(wire)
    now = str(int(time.time()))

    answer = wire.get("/certificates/certificate.html", params={**query, "timestamp": now})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert txid in answer.text
    assert "<script" not in answer.text
    dated = {**query, "timestamp": time.strftime("%Y-%m-%d", time.gmtime())}
    assert wire.get("/certificates/certificate.html", params=dated).status_code == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"dataHash": "cd" * 32}, 409),
        ({"blockHeight": "3"}, 409),
        ({"network": "main"}, 409),
        ({"timestamp": "86400"}, 409),
        ({"txid": "cd" * 32}, 404),
        ({"txid": "x"}, 400),
        ({"timestamp": "soon"}, 400),
    ],
)
@pytest.mark.parametrize("kind", ["certificate.html", "pdf"])
def test_7_7_an_address_that_lies_is_told_so(
    wire: Wire, change: dict[str, str], status: int, kind: str
) -> None:
    _, query = certificate(wire)

    answer = wire.get(f"/certificates/{kind}", params={**query, **change})

    assert answer.status_code == status
    is_page = answer.headers["Content-Type"].startswith("text/html")
    assert is_page == (kind == "certificate.html")


@pytest.mark.parametrize("missing", ["dataHash", "txid"])
def test_7_8_the_pdf_needs_both(wire: Wire, missing: str) -> None:
    query = {"dataHash": "cd" * 32, "txid": TXID}
    del query[missing]

    answer = wire.get("/certificates/pdf", params=query)

    assert (answer.status_code, fields_of(answer)) == (400, {missing})
    assert answer.json()["error"]["message"]


def test_7_8_the_pdf_is_handed_out_as_a_file(wire: Wire) -> None:
    txid, query = certificate(wire)

    answer = wire.get("/certificates/pdf", params=query)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/pdf")
    name = f'attachment; filename="patchproof-certificate-{txid}.pdf"'
    assert answer.headers["Content-Disposition"] == name
    assert answer.content.startswith(b"%PDF-")


def test_7_9_the_short_address_leads_to_the_page(wire: Wire) -> None:
    txid, _ = certificate(wire)

    assert wire.get(f"/certificates/{txid}").status_code == 200
    assert wire.get(f"/certificates/{TXID}").status_code == 404
