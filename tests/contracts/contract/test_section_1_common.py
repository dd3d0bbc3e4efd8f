"""Section 1: who may call, bodies, failures, headers, limits."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import jwt
import pytest

from app import extensions
from app.config import Environment
from app.domain.api_keys import Scope
from app.services import api_keys
from tests.contracts.contract.wire import Wire, code_of, fields_of, new_uid, new_user
from tests.integration.services.lab import Owner

KEY_ROUTES = [
    ("POST", "/v1/patches"),
    ("POST", "/v1/patches/NFC-1/unlock-challenge"),
    ("POST", "/v1/patches/NFC-1/unlock-content"),
    ("POST", "/v1/pos/claim-approve"),
    ("GET", "/v1/admin/utxo-health"),
    ("POST", "/v1/admin/utxo-maintain"),
    ("POST", "/v1/admin/utxo-maintenance"),
    ("GET", "/v1/admin/invariants"),
    ("GET", "/internal/metrics"),
    ("GET", "/api/svd/canary"),
]
TXID = "ab" * 32
TOKEN_ROUTES = [
    ("POST", f"/v1/patches/{TXID}/transfer-ownership"),
    ("GET", "/v1/privacy/export"),
    ("DELETE", "/v1/privacy/delete"),
    ("POST", "/v1/privacy/keys"),
    ("POST", "/v1/auth/logout"),
]
LOGIN_BODIES = {
    "/api/svd/begin": {"userId": "ab" * 12},
    "/v1/auth/request-verification": {"identifier": "who@home.example"},
}


@pytest.mark.parametrize(("method", "path"), KEY_ROUTES)
def test_1_1_without_a_good_key_it_is_401_unauthorized(wire: Wire, method: str, path: str) -> None:
    for headers in ({}, {"x-api-key": "wrong"}, wire.token()):
        # Credentials come first: the body is not even JSON.
        response = wire.send(method, path, headers=headers, data=b"{")
        assert code_of(response) == (401, "unauthorized")
        assert response.json()["message"]


def test_1_1_a_key_without_the_scope_is_403(wire: Wire) -> None:
    made = api_keys.create("reader", [Scope.METRICS], None)
    response = wire.post("/v1/patches", {}, headers={"x-api-key": made.text})

    assert code_of(response) == (403, "insufficient_scope")


@pytest.mark.parametrize(("method", "path"), TOKEN_ROUTES)
def test_1_1_without_a_token_it_is_401_missing_token(wire: Wire, method: str, path: str) -> None:
    for word in ({}, {"Authorization": "bearer x"}, {"Authorization": "Basic eA=="}, wire.key):
        assert code_of(wire.send(method, path, headers=word, data=b"{")) == (401, "missing_token")


def forged(wire: Wire, *, secret: str = "", algorithm: str = "HS256", **claims: Any) -> str:
    now = int(time.time())
    return jwt.encode(
        {"sub": "shop", "iat": now, "exp": now + 60, **claims},
        secret or wire.lab.env["JWT_SECRET"],
        algorithm=algorithm,
    )


def test_1_1_tokens_are_refused_by_the_words_of_the_contract(wire: Wire) -> None:
    now = int(time.time())
    tokens = {
        forged(wire, exp=now - 60): "token_expired",
        forged(wire, secret="another secret, of more than forty bytes"): "token_invalid",
        forged(wire, secret="s" * 64, algorithm="HS512"): "token_invalid",
        forged(wire, nbf=now + 600): "token_invalid",
        "no.token.at-all": "token_invalid",
        forged(wire, jti="ab" * 32, cnf={"msha256": "cd" * 32}): "invalid_svd_binding",
    }
    for token, code in tokens.items():
        response = wire.get("/v1/privacy/export", headers={"Authorization": f"Bearer {token}"})
        assert code_of(response) == (401, code)


def test_1_1_no_environment_switches_the_key_off(wire: Wire) -> None:
    wire.start(APP_ENV="test", NODE_ENV="test")

    assert code_of(wire.post("/v1/patches", {})) == (401, "unauthorized")


def test_1_2_the_largest_body_is_one_mebibyte(wire: Wire) -> None:
    key = wire.lab.env["API_KEY"]
    head = f"POST /v1/patches HTTP/1.1\nHost: x\nx-api-key: {key}\nContent-Type: application/json\n"

    # What is declared is believed when it is too much: no byte of it has to come.
    assert wire.raw(f"{head}Content-Length: {2 * 1024 * 1024}") == 413


def test_1_2_under_logins_it_is_32_kibibytes_declared_or_counted(wire: Wire) -> None:
    head = "POST /api/svd/begin HTTP/1.1\nHost: x\nContent-Type: application/json\n"
    body = b"x" * 32769
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)

    assert wire.raw(f"{head}Content-Length: 65536") == 413
    assert wire.raw(f"{head}Transfer-Encoding: chunked", chunk) == 413
    response = wire.post("/api/svd/begin", data=body)
    assert code_of(response) == (413, "payload_too_large")


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"\xff", b'{"a":1,"a":2}', b""])
def test_1_2_what_is_no_json_object_is_400(wire: Wire, body: bytes) -> None:
    headers = {**wire.key, "Content-Type": "application/json"}

    assert wire.send("POST", "/v1/patches", data=body, headers=headers).status_code == 400


@pytest.mark.parametrize("path", LOGIN_BODIES)
def test_1_2_logins_drop_what_they_do_not_know(wire: Wire, path: str) -> None:
    assert wire.post(path, {**LOGIN_BODIES[path], "more": {"a": [1]}}).status_code == 200


def test_1_2_everything_else_refuses_what_it_does_not_know_at_every_depth(wire: Wire) -> None:
    owner = Owner()
    body = {
        "product": {"uid_tag_id": new_uid(), "colour": "red"},
        "auth": {"owner": owner.address, "by": "me"},
        "more": 1,
    }

    response = wire.keyed("/v1/patches", body)

    assert response.status_code == 400
    assert fields_of(response) == {"product.colour", "auth.by", "more"}


def test_1_2_every_problem_is_told_with_its_field(wire: Wire) -> None:
    response = wire.keyed(
        "/v1/patches",
        {
            "product": {"uid_tag_id": 12345, "name": None, "sku": ""},
            "metadata": {"notes": "  ", "image": "javascript:alert(1)"},
            "auth": {"owner": "1BoatSLRHtKNngkdXEeobR76b53LETtpyX"},
        },
    )

    assert fields_of(response) == {
        "product.uid_tag_id",
        "product.name",
        "product.sku",
        "metadata.notes",
        "metadata.image",
        "auth.owner",
    }
    assert all(detail["message"] for detail in response.json()["error"]["details"])


def test_1_2_texts_are_trimmed_and_hex_is_of_either_case(wire: Wire) -> None:
    owner, buyer, uid = Owner(), Owner(), new_uid()
    padded = {"owner": f" {owner.address} "}
    txid = wire.register(f"  {uid}\t", owner, auth=padded).json()["txid"]

    assert wire.get(f"/v1/patches/verify/%20{uid}%20").status_code == 200
    response = wire.transfer(
        uid, txid, owner, buyer, currentOwnerPubKey=owner.public_key_hex.upper()
    )
    assert response.status_code == 200


def test_1_2_base64_has_padding(wire: Wire) -> None:
    owner = Owner()
    sealed = dict.fromkeys(("wrapIvB64", "ciphertextB64", "cipherIvB64", "wrappedKeyB64"), "AQI")

    response = wire.unlock("NFC-1", TXID, owner, "n", **sealed)

    assert response.status_code == 400
    assert fields_of(response) == set(sealed)


@pytest.mark.parametrize("address", ["1" * 34, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7k", "x"])
def test_1_2_addresses_have_a_checksum_and_a_network(wire: Wire, address: str) -> None:
    response = wire.register(new_uid(), Owner(), auth={"owner": address})

    assert (response.status_code, fields_of(response)) == (400, {"auth.owner"})


@pytest.mark.parametrize("email", ["who", "who@home", "@home.example", "who@home.example, x@y.zz"])
def test_1_2_an_email_address_has_a_domain_of_two_labels(wire: Wire, email: str) -> None:
    response = wire.post("/v1/auth/request-verification", {"identifier": email})

    assert (response.status_code, fields_of(response)) == (400, {"identifier"})


def test_1_3_failures_share_one_body(wire: Wire) -> None:
    answers = [
        wire.keyed("/v1/patches", {}),
        wire.post("/v1/patches", {}),
        wire.get("/v1/patches/pending/registration/123456789"),
        wire.get("/nowhere"),
        wire.send("PUT", "/v1/patches"),
    ]
    assert [each.status_code for each in answers] == [400, 401, 404, 404, 405]
    for response in answers:
        body = response.json()
        error = body["error"]
        assert (body["code"], body["message"]) == (error["code"], error["message"])
        assert error["status"] == response.status_code
        assert error["requestId"] == response.headers["X-Request-Id"]
        assert error["name"].endswith("Error")
    assert set(answers[-1].headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


def test_1_3_some_routes_add_members_at_the_top(wire: Wire) -> None:
    assert wire.get("/v1/patches/verify/nobody-has-it").json()["status"] == "not_found"
    assert wire.keyed("/v1/admin/utxo-maintain", {"action": "x"}).json()["success"] is False
    body = {"identifier": "nobody@home.example", "code": "123456"}
    refused = wire.post("/v1/auth/submit-verification", body).json()
    assert (refused["success"], refused["reason"]) == (False, "NotFoundOrExpired")
    assert wire.get("/api/svd/canary").json()["ok"] is False


def test_1_4_request_ids_are_echoed_but_not_on_probes(wire: Wire) -> None:
    name = {"X-Request-Id": "order-4711"}

    assert wire.get("/nowhere", headers=name).headers["X-Request-Id"] == "order-4711"
    assert wire.get("/api/svd/kid", headers=name).headers["X-Request-Id"] == "order-4711"
    for path in ("/health", "/ready", "/__ping"):
        assert "X-Request-Id" not in wire.get(path, headers=name).headers


def test_1_4_json_says_its_charset_and_has_a_weak_tag(wire: Wire) -> None:
    response = wire.get("/api/svd/kid")

    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    tag = response.headers["ETag"]
    assert tag.startswith('W/"')
    assert wire.get("/api/svd/kid", headers={"If-None-Match": tag}).status_code == 304


def test_1_4_who_may_keep_an_answer(wire: Wire) -> None:
    begin = wire.post("/api/svd/begin", {"userId": new_user()})
    kept = {
        "/api/svd/kid": "public, max-age=300",
        "/metrics": "no-store",
        "/internal/metrics": "no-store",
        "/api/svd/canary": "no-store",
        "/health": None,
    }

    assert begin.headers["Cache-Control"] == "no-store"
    for path, value in kept.items():
        assert wire.get(path, headers=wire.key).headers.get("Cache-Control") == value, path


def test_1_4_security_headers_are_everywhere(wire: Wire) -> None:
    for path in ("/health", "/nowhere", "/v1/patches/verify/nobody-has-it", "/docs/"):
        headers = wire.get(path).headers
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_1_4_origins_are_reflected_without_credentials(wire: Wire) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    answer = wire.send("OPTIONS", "/v1/patches", headers=asked)

    assert answer.status_code < 300
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET,HEAD,PUT,PATCH,POST,DELETE"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_1_4_in_production_only_named_origins_are_reflected(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {
        "app_env": Environment.PRODUCTION,
        "cors_allowed_origins": ("https://shop.example",),
    }
    settings = extensions.get().settings.model_copy(update=changes)
    monkeypatch.setattr(extensions, "_current", [replace(extensions.get(), settings=settings)])

    named = wire.get("/api/svd/kid", headers={"Origin": "https://shop.example"})
    other = wire.get("/api/svd/kid", headers={"Origin": "https://shop.example.evil.example"})
    none = wire.get("/api/svd/kid")

    assert [each.status_code for each in (named, other, none)] == [200, 200, 200]
    assert named.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert not [name for name in other.headers if name.startswith("Access-Control")]
    assert "max-age=15768000" in none.headers["Strict-Transport-Security"]


LIMITS = [
    ("GET", "/api/svd/kid", None, (60, 60)),
    ("POST", "/api/svd/begin", {"userId": "ab" * 12}, (20, 60)),
    (
        "POST",
        "/api/svd/complete",
        {"userId": "ab" * 12, "M": "ab" * 24, "signatureHex": "3045022100"},
        (30, 60),
    ),
    ("GET", "/api/svd/canary", None, (30, 60)),
    ("POST", "/v1/auth/request-verification", {"identifier": "a@home.example"}, (1, 60)),
    (
        "POST",
        "/v1/auth/submit-verification",
        {"identifier": "a@home.example", "code": "123456"},
        (5, 600),
    ),
]
# As older files have them: empty, 0 and no number all mean the default.
UNSET = {
    "PUBLIC_API_MAX": "",
    "SVD_BEGIN_MAX": "0",
    "SVD_COMPLETE_MAX": "many",
    "SVD_CANARY_MAX": "",
    "AUTH_REQUEST_MAX": "",
    "AUTH_SUBMIT_MAX": "",
}


def test_1_5_limits_have_the_contracts_defaults_and_tell_where_one_stands(wire: Wire) -> None:
    wire.start(**UNSET)
    wire.forget_limits()
    for method, path, body, (maximum, seconds) in LIMITS:
        wire.forget_limits()
        first = wire.send(method, path, json=body, headers=wire.key).headers

        assert first["RateLimit-Policy"] == f"{maximum};w={seconds}", path
        assert first["RateLimit-Limit"] == str(maximum)
        assert first["RateLimit-Remaining"] == str(maximum - 1)
        assert 0 < int(first["RateLimit-Reset"]) <= seconds
        assert "Retry-After" not in first


def test_1_5_beyond_a_limit_it_is_429_with_retry_after(wire: Wire) -> None:
    wire.start(SVD_BEGIN_MAX="2", AUTH_SUBMIT_MAX="2")
    wire.forget_limits()
    user = new_user()
    guess = {"identifier": "b@home.example", "code": "123456"}
    for path, body in (
        ("/api/svd/begin", {"userId": user}),
        ("/v1/auth/submit-verification", guess),
    ):
        answers = [wire.post(path, body) for _ in range(3)]

        assert 429 not in [each.status_code for each in answers[:2]]
        assert code_of(answers[2]) == (429, "rate_limited")
        assert answers[2].headers["RateLimit-Remaining"] == "0"
        assert int(answers[2].headers["Retry-After"]) > 0
    # A user is one in any spelling, and another is another.
    assert wire.post("/api/svd/begin", {"userId": user.upper()}).status_code == 429
    assert wire.post("/api/svd/begin", {"userId": new_user()}).status_code == 200
    # Nothing else in the body counts.
    assert wire.post("/v1/auth/submit-verification", {**guess, "userId": "x"}).status_code == 429
