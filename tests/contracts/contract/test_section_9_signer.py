"""Section 9: the signer's wire, from both of its ends."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import requests

from app.bitcoin.keys import PublicKey
from app.config import Settings
from app.services import canary
from tests.contracts.contract.people import Person
from tests.contracts.contract.wire import Wire
from tests.integration.services.lab import Owner

VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "vectors" / "sighash.json").read_text("utf-8")
)
DIGEST = hashlib.sha256(b"a message").digest()


class Signer:
    """A caller of the running signer."""

    def __init__(self, wire: Wire) -> None:
        self.env = wire.lab.env
        self.good = {"Authorization": f"Bearer {self.env['KMS_API_KEY']}"}

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        url = self.env["KMS_SIGN_URL"] + path
        return requests.post(url, json=body, headers=headers or self.good, timeout=30)

    def entry(self, digest: bytes = DIGEST) -> dict[str, str]:
        return {"keyIdentifier": self.env["ISSUER_KEY_IDENTIFIER"], "sighash": digest.hex()}


@pytest.fixture
def signer(wire: Wire) -> Signer:
    return Signer(wire)


def test_1_1_the_signers_key_comes_in_either_header_and_the_first_wins(signer: Signer) -> None:
    body = {"requests": [signer.entry()]}
    key = signer.env["KMS_API_KEY"]

    assert signer.post("/sign", body, {"x-api-key": key}).status_code == 200
    for headers in (
        {"x-api-key": "wrong"},
        {"x-api-key": "wrong", **signer.good},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"bearer {key}"},
    ):
        refused = signer.post("/sign", body, headers)
        assert (refused.status_code, refused.json()) == (401, {"error": "unauthorized"})


def test_9_1_signatures_stand_in_the_order_of_the_requests(signer: Signer) -> None:
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(5)]

    answer = signer.post("/sign", {"requests": [signer.entry(each) for each in digests]})

    signatures = answer.json()["signatures"]
    assert answer.status_code == 200
    assert all(set(each) == {"signatureHex", "pubKeyHex"} for each in signatures)
    for digest, signed in zip(digests, signatures, strict=True):
        key = PublicKey.from_hex(signed["pubKeyHex"])
        # The bare DER: a hash type behind it would not verify.
        assert key.verify(bytes.fromhex(signed["signatureHex"]), digest)


def test_9_1_one_bad_entry_refuses_all(signer: Signer) -> None:
    bad = {**signer.entry(), "sighash": "ab"}

    answer = signer.post("/sign", {"requests": [signer.entry(), bad]})

    assert answer.status_code == 400
    assert "signatures" not in answer.json()


def test_9_1_the_service_tries_three_times_for_fifteen_seconds_each() -> None:
    fields = Settings.model_fields

    assert fields["kms_sign_timeout_ms"].default == 15000
    assert fields["kms_sign_retry_attempts"].default == 3


def test_9_1_either_url_may_be_named_and_the_path_is_appended(wire: Wire) -> None:
    url = wire.lab.env["KMS_SIGN_URL"]
    wire.start(KMS_SIGN_URL="http://127.0.0.1:1", KMS_TX_SIGN_URL=url, KMS_SVD_URL=f"{url}/")

    wire.registered(Owner())
    assert canary.sing().kid


def test_9_2_the_secret_and_the_name_of_the_key(wire: Wire, signer: Signer) -> None:
    person = Person(wire)
    body = {"Mhex": person.begin(), "pmcHex": person.public_key_hex}

    answer = signer.post("/svd/derive-secret", body)

    assert (answer.status_code, set(answer.json())) == (200, {"sharedSecretHex", "kid"})
    assert len(bytes.fromhex(answer.json()["sharedSecretHex"])) == 32
    assert answer.json()["kid"] == wire.get("/api/svd/kid").json()["kid"]


def test_9_3_a_digest_is_signed_as_it_is(signer: Signer) -> None:
    natural = bytes.fromhex(VECTOR["sighash_natural"])
    assert natural[::-1].hex() == VECTOR["sighash_reversed"]

    (signed,) = signer.post("/sign", {"requests": [signer.entry(natural)]}).json()["signatures"]

    key = PublicKey.from_hex(signed["pubKeyHex"])
    assert key.verify(bytes.fromhex(signed["signatureHex"]), natural)
    assert not key.verify(bytes.fromhex(signed["signatureHex"]), natural[::-1])


def test_9_3_what_the_service_sends_has_hash_type_0x41(wire: Wire) -> None:
    _, txid = wire.registered(Owner())

    row = wire.lab.collection("transactions").find_one({"txid": txid})

    raw = row["raw_tx"]
    # The first input's script: a length, then the signature with its own length.
    script = raw[4 + 1 + 36 :]
    assert script[1 + script[1]] == 0x41


@pytest.mark.parametrize("path", ["/sign", "/pubkey", "/svd/derive-secret"])
def test_9_4_no_signer_answers_in_the_api(wire: Wire, path: str) -> None:
    for prefix in ("/internal/signer", "/internal", ""):
        for method in ("GET", "POST"):
            answer = wire.send(method, prefix + path, headers=wire.key, json={"hashHex": "ab" * 32})
            assert answer.status_code == 404, (prefix, path)
