"""The limits and door checks of the contract's own routes, with the settings of production."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app import extensions
from app.api.bodies import MAX_LOGIN_BODY_BYTES
from devnet.supervisor import Devnet
from tests.integration.api.serving import serving
from tests.integration.limits.conftest import Start
from tests.integration.limits.probes import Probes
from tests.integration.limits.test_limits import USER, in_parallel, remaining, statuses
from tests.unit.api.test_headers import PRODUCTION

SECURITY = ("Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options")
STRANGER = "198.51.100.7"


def begin(probes: Probes, address: str) -> Any:
    return probes.post("/api/svd/begin", {"userId": USER}, address=address)


def test_s7_a_stranger_s_begins_leave_the_owner_his_own(start: Start) -> None:
    probes = start()
    theirs = [begin(probes, STRANGER) for _ in range(25)]

    assert statuses(theirs) == [200] * 20 + [429] * 5
    assert statuses([begin(probes, "192.0.2.1")]) == [200]


def test_begin_tells_the_policy_of_the_contract(start: Start) -> None:
    answer = begin(start(), STRANGER)

    assert answer.headers["RateLimit-Policy"] == "20;w=60"
    assert answer.headers["RateLimit-Limit"] == "20"
    assert answer.headers["RateLimit-Remaining"] == "19"


def test_f25_kid_is_limited_once(start: Start) -> None:
    probes = start()

    answers = [probes.get("/api/svd/kid") for _ in range(61)]

    assert statuses(answers) == [200] * 60 + [429]


def test_s8_a_code_is_mailed_once_a_minute_whatever_else_the_body_holds(start: Start) -> None:
    probes = start(VERIFY_CODE_SALT_ROUNDS="4")
    extensions.ensure_indexes()

    answers = [
        probes.post(
            "/v1/auth/request-verification",
            {"identifier": spelling, "userId": f"{number:024x}"},
            address=f"198.51.100.{number}",
        )
        for number, spelling in enumerate(("a@shop.example.com", "A@Shop.Example.com "))
    ]

    assert statuses(answers) == [200, 429]
    assert answers[1].json["error"]["code"] == answers[1].json["code"] == "rate_limited"
    assert answers[1].json["success"] is False


def submit(probes: Probes, **more: str) -> Any:
    body = {"identifier": "a@shop.example.com", "code": "123456", **more}
    return probes.post("/v1/auth/submit-verification", body)


def test_s8_f24_five_wrong_codes_are_enough(start: Start) -> None:
    probes = start()

    answers = [submit(probes, userId=f"{number:024x}") for number in range(8)]

    assert statuses(answers) == [401] * 5 + [429] * 3
    assert remaining(answers[:5]) == [4, 3, 2, 1, 0]
    assert answers[0].headers["RateLimit-Policy"] == "5;w=600"


def test_f24_wrong_codes_at_the_same_time_are_no_more(start: Start) -> None:
    probes = start()

    answers = in_parallel(25, lambda: submit(probes))

    assert sorted(statuses(answers)) == [401] * 5 + [429] * 20


def test_s22_verifying_is_limited(start: Start) -> None:
    probes = start(READING_MAX="3")

    answers = [probes.get("/v1/patches/verify/NFC-NOBODY") for _ in range(5)]

    assert statuses(answers) == [404] * 3 + [429] * 2
    assert answers[-1].json["status"] == "error"


def test_s12_claims_are_limited_before_they_are_read(start: Start) -> None:
    probes = start(CLAIM_INTENT_MAX="3")

    answers = [probes.post("/v1/pos/claim-intent", {}) for _ in range(5)]

    assert statuses(answers) == [400] * 3 + [429] * 2


@pytest.mark.parametrize(
    "path", ["/api/svd/begin", "/api/svd/register-challenge", "/api/svd/canary"]
)
def test_nobody_keeps_the_answers_of_a_login(start: Start, path: str) -> None:
    probes = start()
    if path.endswith("canary"):
        answer = probes.get(path, **{"x-api-key": probes.key})
    else:
        answer = probes.post(path, {"userId": USER})

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"


def test_kid_may_be_kept_for_a_while(start: Start) -> None:
    assert start().get("/api/svd/kid").headers["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize("production", [False, True])
def test_every_failure_has_security_headers_and_an_id(start: Start, production: bool) -> None:
    names = ("APP_ENV", "MONGODB_URI", "WOC_NETWORK", "CORS_ALLOWED_ORIGINS") if production else ()
    probes = start(READING_MAX="1", **{name: PRODUCTION[name] for name in names})
    too_much = "x" * (MAX_LOGIN_BODY_BYTES + 1)
    probes.get("/probe/read")
    failures = {
        404: probes.get("/nothing"),
        405: probes.post("/health"),
        400: probes.post("/api/svd/begin", {}),
        401: probes.write("wrong"),
        413: probes.post("/api/svd/begin", {"userId": too_much}),
        429: probes.get("/probe/read"),
        500: probes.get("/probe/fail", address="192.0.2.9"),
    }

    for status, answer in failures.items():
        assert answer.status_code == status, answer.get_data(as_text=True)
        assert answer.json["error"]["message"]
        assert answer.json["code"] == answer.json["error"]["code"]
        for name in SECURITY:
            assert name in answer.headers, (status, name)
        if status != 405:  # of a probe
            assert answer.headers["X-Request-Id"] == answer.json["error"]["requestId"]
        assert ("Strict-Transport-Security" in answer.headers) is production


@pytest.fixture
def server_port(clean_devnet: Devnet, tmp_path: Path) -> Iterator[int]:
    """The API under gunicorn."""
    with serving(clean_devnet.env, tmp_path, workers=1) as server:
        assert server.wait() is None, server.log
        yield server.port


def send(port: int, size: int, *, is_chunked: bool) -> tuple[int, dict[str, Any]]:
    """Posts a login body of so many bytes, declared or in chunks without a length."""
    padding = size - len(json.dumps({"userId": USER, "x": ""}))
    raw = json.dumps({"userId": USER, "x": "x" * padding}).encode()
    assert len(raw) == size
    headers = {"Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        if is_chunked:
            headers["Transfer-Encoding"] = "chunked"
            chunks = (raw[start : start + 4096] for start in range(0, size, 4096))
            connection.request(
                "POST", "/api/svd/begin", body=chunks, headers=headers, encode_chunked=True
            )
        else:
            connection.request("POST", "/api/svd/begin", body=raw, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_s16_a_login_body_is_counted_in_bytes_by_a_real_server(server_port: int) -> None:
    for is_chunked in (False, True):
        status, _ = send(server_port, MAX_LOGIN_BODY_BYTES, is_chunked=is_chunked)
        assert status == 200
        for size in (MAX_LOGIN_BODY_BYTES + 1, MAX_LOGIN_BODY_BYTES + 2, 100_000):
            status, body = send(server_port, size, is_chunked=is_chunked)
            assert status == 413
            assert body["code"] == "payload_too_large"
            assert "payload too large" in body["error"]["message"]
