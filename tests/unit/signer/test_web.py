"""The wire of the signer (http-api, section 9) through Flask's test client."""

import json
import logging
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bitcoin.keys import PrivateKey, PublicKey
from app.bitcoin.signatures import is_low_s, is_strict_der
from signer import web
from signer.wire import MAX_BODY_BYTES, MAX_ENTRIES

API_KEY = "unit-test-api-key"
PMC = PrivateKey.from_hex("11" * 32).public_key.to_hex()
CHALLENGE = "000000006500000000112233445566778899aabbccddeeff"
SECRET = "0587c79a7d57eb5488532bd3a5ee35e99dd5edfb7e3557ec6ffe53a3cce23976"
SIGHASH_NATURAL = "4f928c41cdc11218138ae006c0f8b0e7f8459599e9ed89b3c8d323e846607d5c"
SIGNATURE = (
    "30440220352abeccd86532a945cda2e1fabb86d999829034690894c12fd41ece71baeec102202d542fcfcc1352df"
    "d91867872916d3df5731d4232e6b4d8743e5da03dd62146f"
)


def entry(key: object = "issuer-1", sighash: object = "ab" * 32) -> dict[str, object]:
    return {"keyIdentifier": key, "sighash": sighash}


def post(client: FlaskClient, *entries: object) -> Any:
    return client.post("/sign", json={"requests": list(entries)})


def assert_refused(answer: Any, status: int, code: str, place: str) -> None:
    assert answer.status_code == status
    assert set(answer.json) == {"error", "message"}
    assert answer.json["error"] == code
    assert place in answer.json["message"]


def test_f4_natural_order_sighash_gives_the_published_signature(client: FlaskClient) -> None:
    answer = post(client, entry(sighash=SIGHASH_NATURAL))
    assert answer.status_code == 200
    assert answer.json == {"signatures": [{"signatureHex": SIGNATURE, "pubKeyHex": PMC}]}


def test_f3_registration_digest_gives_the_standard_signature(client: FlaskClient) -> None:
    digest = "3675e8acbddc125f24603da90e8815534d7e67cfc303c4b56e67739b5f3fb56d"
    answer = post(client, entry(sighash=digest))
    assert answer.json["signatures"][0]["signatureHex"] == (
        "3045022100d6e7cbe14c5c0cc72af126968d62f15274624b0c158ac1f504a49f2eb2086b1202207ffc84ffc6"
        "7ce91b7779dddbee53e4ebd2c0f0e45b2c058d8ea869c33d319cc6"
    )


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batch=st.lists(
        st.tuples(st.sampled_from(["issuer-1", "pool-1"]), st.binary(min_size=32, max_size=32)),
        min_size=1,
        max_size=20,
    )
)
def test_s20_every_answer_stands_where_its_request_stood(
    client: FlaskClient, batch: list[tuple[str, bytes]]
) -> None:
    keys = {"issuer-1": "11" * 32, "pool-1": "33" * 32}
    answer = post(client, *(entry(name, digest.hex()) for name, digest in batch))
    signatures = answer.json["signatures"]
    assert len(signatures) == len(batch)
    for (name, digest), signed in zip(batch, signatures, strict=True):
        public_key = PublicKey.from_hex(signed["pubKeyHex"])
        der = bytes.fromhex(signed["signatureHex"])
        assert public_key == PrivateKey.from_hex(keys[name]).public_key
        assert public_key.verify(der, digest)
        assert is_strict_der(der)
        assert is_low_s(der)


def test_signatures_are_deterministic(client: FlaskClient) -> None:
    assert post(client, entry()).json == post(client, entry(sighash="AB" * 32)).json


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        (entry(sighash="ab" * 31), "requests[3].sighash"),
        (entry(sighash="ab" * 32 + "\n"), "requests[3].sighash"),
        (entry(sighash="zz" * 32), "requests[3].sighash"),
        (entry(sighash="\u0661" * 64), "requests[3].sighash"),
        (entry(sighash=None), "requests[3].sighash"),
        (entry(sighash=[]), "requests[3].sighash"),
        (entry(sighash=7), "requests[3].sighash"),
        (entry(key=""), "requests[3].keyIdentifier"),
        (entry(key=None), "requests[3].keyIdentifier"),
        (entry(key={}), "requests[3].keyIdentifier"),
        (entry(key="a b"), "requests[3].keyIdentifier"),
        ({"keyIdentifier": "issuer-1"}, "requests[3] lacks the field sighash"),
        ({"sighash": "ab" * 32}, "requests[3] lacks the field keyIdentifier"),
        (entry() | {"sighashType": 65}, "requests[3] has an unknown field"),
        ("ab" * 32, "requests[3] must be a JSON object"),
        (None, "requests[3] must be a JSON object"),
        ([], "requests[3] must be a JSON object"),
    ],
)
def test_s20_one_malformed_entry_refuses_the_batch(
    client: FlaskClient, bad: object, place: str
) -> None:
    answer = post(client, entry(), entry(), entry(), bad, entry())
    assert_refused(answer, 400, "invalid_request", place)


def test_s20_unknown_key_refuses_the_batch(client: FlaskClient) -> None:
    answer = post(client, entry(), entry(key="nobody"))
    assert_refused(answer, 404, "not_found", "requests[1].keyIdentifier names no key")


def test_s20_login_key_in_a_batch_refuses_it(client: FlaskClient) -> None:
    answer = post(client, entry(), entry(key="pool-1"), entry(key="login-1"))
    assert_refused(answer, 403, "forbidden", "requests[2].keyIdentifier")


def test_s20_first_fault_is_the_one_named(client: FlaskClient) -> None:
    answer = post(client, entry(key="nobody"), entry(sighash=1), entry(sighash=2))
    assert_refused(answer, 400, "invalid_request", "requests[1].sighash")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"requests":[],"requests":[]}', "not valid JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[]", "The body must be a JSON object"),
        (b"null", "The body must be a JSON object"),
        (b"{}", "The body lacks the field requests"),
        (b'{"hashHex":"' + b"ab" * 32 + b'"}', "The body lacks the field requests"),
        (b'{"requests":[]}', "requests must be a list"),
        (b'{"requests":{}}', "requests must be a list"),
        (b'{"requests":"x"}', "requests must be a list"),
        (b'{"requests":[],"more":1}', "unknown field"),
    ],
)
def test_other_bodies_are_refused(client: FlaskClient, body: bytes, words: str) -> None:
    assert_refused(client.post("/sign", data=body), 400, "invalid_request", words)


def test_entry_with_two_digests_is_refused(client: FlaskClient) -> None:
    twice = f'"sighash":"{"ab" * 32}","sighash":"{"cd" * 32}"'
    body = f'{{"requests":[{{"keyIdentifier":"issuer-1",{twice}}}]}}'
    assert_refused(client.post("/sign", data=body), 400, "invalid_request", "not valid JSON")


def test_largest_batch_is_signed_and_one_more_is_not(client: FlaskClient) -> None:
    assert len(post(client, *[entry()] * MAX_ENTRIES).json["signatures"]) == MAX_ENTRIES
    answer = post(client, *[entry()] * (MAX_ENTRIES + 1))
    assert_refused(answer, 413, "payload_too_large", "at most 2000")


def test_body_is_measured_in_bytes(client: FlaskClient) -> None:
    document = json.dumps({"requests": [entry()]}).encode()
    fits = document + b" " * (MAX_BODY_BYTES - len(document))
    assert client.post("/sign", data=fits).status_code == 200
    for length in (MAX_BODY_BYTES + 1, MAX_BODY_BYTES + 2, 2 * MAX_BODY_BYTES):
        answer = client.post("/sign", data=fits.ljust(length))
        assert_refused(answer, 413, "payload_too_large", "at most 1048576 bytes")


def test_login_secret_of_the_published_vectors(client: FlaskClient) -> None:
    answer = client.post("/svd/derive-secret", json={"Mhex": CHALLENGE, "pmcHex": PMC})
    assert answer.status_code == 200
    assert answer.json == {"sharedSecretHex": SECRET, "kid": "svd-9946bb84db1a672b"}
    short_x = "000000006500000000000000000000000000000000000028"
    answer = client.post("/svd/derive-secret", json={"Mhex": short_x, "pmcHex": PMC.upper()})
    assert answer.json["sharedSecretHex"] == (
        "5e3250c86cccc73d7e4bd46c33851907f912c7c3139017ed6662428edf37a4bb"
    )


@pytest.mark.parametrize(
    ("challenge", "key", "words"),
    [
        (CHALLENGE[:-2], PMC, "Mhex"),
        (CHALLENGE + "00", PMC, "Mhex"),
        ("zz" * 24, PMC, "Mhex"),
        (None, PMC, "Mhex"),
        (CHALLENGE, "02" + "00" * 31 + "05", "pmcHex"),
        (CHALLENGE, "02" + "ff" * 32, "pmcHex"),
        (CHALLENGE, "00", "pmcHex"),
        (CHALLENGE, "04" + "11" * 64, "pmcHex"),
        (CHALLENGE, PMC + "\n", "pmcHex"),
        (CHALLENGE, None, "pmcHex"),
        (CHALLENGE, [], "pmcHex"),
    ],
)
def test_unusable_login_input_is_refused(
    client: FlaskClient, challenge: object, key: object, words: str
) -> None:
    answer = client.post("/svd/derive-secret", json={"Mhex": challenge, "pmcHex": key})
    assert_refused(answer, 400, "invalid_request", words)


def test_login_input_with_more_fields_is_refused(client: FlaskClient) -> None:
    body = {"Mhex": CHALLENGE, "pmcHex": PMC, "kid": "x"}
    answer = client.post("/svd/derive-secret", json=body)
    assert_refused(answer, 400, "invalid_request", "unknown field")


def test_login_without_a_login_key_is_not_found() -> None:
    client = web.create_app(web.KeyRing(), API_KEY, web.Network.MAIN).test_client()
    answer = client.post(
        "/svd/derive-secret",
        json={"Mhex": CHALLENGE, "pmcHex": PMC},
        headers={"x-api-key": API_KEY},
    )
    assert_refused(answer, 404, "not_found", "purpose svd")


def test_public_key_of_the_published_vector(client: FlaskClient) -> None:
    assert client.get("/pubkey?keyIdentifier=issuer-1").json == {
        "keyIdentifier": "issuer-1",
        "compressedPubkeyHex": PMC,
        "address": "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9",
        "purposes": ["issuer"],
    }


def test_public_key_wants_a_known_name(client: FlaskClient) -> None:
    assert_refused(client.get("/pubkey"), 400, "invalid_request", "keyIdentifier")
    assert_refused(client.get("/pubkey?keyIdentifier=x"), 404, "not_found", "keyIdentifier")


def test_health_needs_no_key(anonymous: FlaskClient) -> None:
    answer = anonymous.get("/health")
    assert (answer.status_code, answer.json) == (200, {"status": "ok", "locked": False})


@pytest.mark.parametrize("path", ["/sign", "/svd/derive-secret", "/pubkey", "/other", "/health/"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"bearer {API_KEY}"},
        {"Authorization": API_KEY},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {API_KEY} "},
        {"x-api-key": ""},
        {"x-api-key": "w\u00f6rong"},
        {"x-api-key": "wrong", "Authorization": f"Bearer {API_KEY}"},
    ],
)
def test_s4_everything_else_needs_the_key(
    anonymous: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    for answer in (anonymous.get(path, headers=headers), anonymous.post(path, headers=headers)):
        assert (answer.status_code, answer.json) == (401, {"error": "unauthorized"})


def test_api_key_header_wins(anonymous: FlaskClient) -> None:
    headers = {"x-api-key": API_KEY, "Authorization": "Bearer wrong"}
    assert anonymous.get("/pubkey?keyIdentifier=pool-1", headers=headers).status_code == 200


def test_unknown_path_and_method_answer_json(client: FlaskClient) -> None:
    assert client.get("/nothing").json["error"] == "not_found"
    answer = client.get("/sign")
    assert (answer.status_code, answer.json["error"]) == (405, "method_not_allowed")


def test_request_id_comes_back(client: FlaskClient) -> None:
    assert client.get("/health", headers={"x-request-id": "ab-1"}).headers["X-Request-Id"] == "ab-1"
    made = client.get("/health", headers={"x-request-id": "a b" * 99}).headers["X-Request-Id"]
    assert len(made) == 32
    assert client.get("/health").headers["Cache-Control"] == "no-store"


def test_log_line_holds_what_an_operator_needs_and_no_secret(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="signer")
    headers = {"x-request-id": "rid-1"}
    body = {"requests": [entry(), entry("pool-1"), entry()]}
    client.post("/sign", json=body, headers=headers)
    client.post("/svd/derive-secret", json={"Mhex": CHALLENGE, "pmcHex": PMC})
    first, second = [vars(record)["fields"] for record in caplog.records]
    assert first.pop("milliseconds") >= 0
    assert first == {
        "request_id": "rid-1",
        "method": "POST",
        "path": "/sign",
        "status": 200,
        "digests": 3,
        "key_identifiers": ["issuer-1", "pool-1"],
    }
    assert second["key_identifiers"] == ["login-1"]
    for secret in (SECRET, CHALLENGE, PMC, API_KEY, "ab" * 32):
        assert secret not in str((first, second))


def test_unexpected_failure_is_a_json_500_without_details(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: object) -> bytes:
        raise RuntimeError("secret 1234")

    monkeypatch.setattr(web, "derive_shared_secret", fail)
    answer = client.post("/svd/derive-secret", json={"Mhex": CHALLENGE, "pmcHex": PMC})
    assert (answer.status_code, answer.json["error"]) == (500, "internal_error")
    assert "1234" not in answer.text
    assert caplog.records[-1].levelname == "ERROR"
