"""The wire of the running signer: vectors, authentication, whole batches."""

import json
from typing import Any

import pytest

from app.bitcoin.keys import PrivateKey, PublicKey

PMC = PrivateKey.from_hex("11" * 32).public_key.to_hex()


def entry(key: str, sighash: str) -> dict[str, str]:
    return {"keyIdentifier": key, "sighash": sighash}


def test_published_sighash_gives_the_published_signature(signer: Any) -> None:
    sighash = "4f928c41cdc11218138ae006c0f8b0e7f8459599e9ed89b3c8d323e846607d5c"
    answer = signer.call("POST", "/sign", {"requests": [entry("issuer-1", sighash)]})
    assert answer.status == 200
    assert answer.json == {
        "signatures": [
            {
                "signatureHex": (
                    "30440220352abeccd86532a945cda2e1fabb86d999829034690894c12fd41ece71baeec1"
                    "02202d542fcfcc1352dfd91867872916d3df5731d4232e6b4d8743e5da03dd62146f"
                ),
                "pubKeyHex": PMC,
            }
        ]
    }


@pytest.mark.parametrize(
    ("challenge", "secret"),
    [
        (
            "000000006500000000112233445566778899aabbccddeeff",
            "0587c79a7d57eb5488532bd3a5ee35e99dd5edfb7e3557ec6ffe53a3cce23976",
        ),
        (
            "000000006500000000000000000000000000000000000028",
            "5e3250c86cccc73d7e4bd46c33851907f912c7c3139017ed6662428edf37a4bb",
        ),
    ],
)
def test_published_login_vectors(signer: Any, challenge: str, secret: str) -> None:
    body = {"Mhex": challenge, "pmcHex": PMC}
    answer = signer.call("POST", "/svd/derive-secret", body)
    assert answer.status == 200
    assert answer.json == {"sharedSecretHex": secret, "kid": "svd-9946bb84db1a672b"}


def test_s20_five_hundred_answers_stand_in_the_order_asked(signer: Any) -> None:
    names = ["issuer-1" if number % 3 else "pool-1" for number in range(500)]
    digests = [number.to_bytes(32, "big") for number in range(500)]
    requests = [entry(name, digest.hex()) for name, digest in zip(names, digests, strict=True)]
    signatures = signer.call("POST", "/sign", {"requests": requests}).json["signatures"]
    public_keys = {
        "issuer-1": PrivateKey.from_hex("11" * 32).public_key,
        "pool-1": PrivateKey.from_hex("33" * 32).public_key,
    }
    for name, digest, signed in zip(names, digests, signatures, strict=True):
        assert PublicKey.from_hex(signed["pubKeyHex"]) == public_keys[name]
        assert public_keys[name].verify(bytes.fromhex(signed["signatureHex"]), digest)


@pytest.mark.parametrize(
    ("bad", "status", "place"),
    [
        (entry("issuer-1", "ab"), 400, "requests[1].sighash"),
        (entry("nobody", "ab" * 32), 404, "requests[1].keyIdentifier"),
        (entry("login-1", "ab" * 32), 403, "requests[1].keyIdentifier"),
    ],
)
def test_s20_one_bad_entry_refuses_the_batch(
    signer: Any, bad: dict[str, str], status: int, place: str
) -> None:
    good = entry("issuer-1", "ab" * 32)
    answer = signer.call("POST", "/sign", {"requests": [good, bad, good]})
    assert answer.status == status
    assert answer.json["message"].startswith(place)
    assert "signatures" not in answer.json


def test_s4_nothing_but_health_answers_a_stranger(signer: Any) -> None:
    good = {"requests": [entry("issuer-1", "ab" * 32)]}
    for method, path in (("POST", "/sign"), ("POST", "/svd/derive-secret"), ("GET", "/pubkey")):
        for headers in ({}, {"x-api-key": "wrong"}, {"Authorization": "Bearer wrong"}):
            answer = signer.request(method, path, good, headers)
            assert (answer.status, answer.json) == (401, {"error": "unauthorized"})
    assert signer.request("GET", "/health").json == {"status": "ok", "locked": False}


def test_public_key_says_what_the_key_is_for(signer: Any) -> None:
    assert signer.call("GET", "/pubkey?keyIdentifier=pool-1").json["purposes"] == ["funding"]
    answer = signer.call("GET", "/pubkey?keyIdentifier=issuer-1")
    assert answer.json["address"] == "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9"


def test_body_over_the_limit_is_refused_though_the_client_sends_it_all(signer: Any) -> None:
    answer = signer.call("POST", "/sign", {"requests": [], "pad": "x" * (2 * 1024 * 1024)})
    assert (answer.status, answer.json["error"]) == (413, "payload_too_large")


@pytest.mark.parametrize(("chunks", "status"), [(16, 200), (17, 413), (40, 413)])
def test_s16_chunked_body_is_counted(signer: Any, chunks: int, status: int) -> None:
    """Sixteen chunks of 64 KiB are exactly the limit; nobody declares a length."""
    document = json.dumps({"requests": [entry("issuer-1", "ab" * 32)]}).encode()
    body = document.ljust(chunks * 65536)
    parts = [body[start : start + 65536] for start in range(0, len(body), 65536)]
    answer = signer.send_chunks("/sign", parts)
    assert answer.status == status


def test_every_log_line_is_json(signer: Any) -> None:
    headers = {"x-api-key": "integration-test-api-key", "x-request-id": "log-test"}
    body = {"requests": [entry("issuer-1", "ab" * 32), entry("pool-1", "cd" * 32)]}
    signer.request("POST", "/sign", body, headers)
    (line,) = [line for line in signer.log_lines() if line.get("request_id") == "log-test"]
    assert (line["path"], line["status"], line["digests"]) == ("/sign", 200, 2)
    assert line["key_identifiers"] == ["issuer-1", "pool-1"]
    assert json.dumps(line["milliseconds"])
