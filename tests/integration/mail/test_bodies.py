"""What the routes of mailed codes refuse before anything is asked of anybody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.api.caller import Caller
from tests.integration.mail.lab import ADDRESS, CALM

REQUEST = "/v1/auth/request-verification"
SUBMIT = "/v1/auth/submit-verification"
NO_DATABASE = {
    "MONGODB_URI": "mongodb://user:word@127.0.0.1:1/?directConnection=true",
    "DB_SERVER_SELECTION_TIMEOUT_MS": "50",
}
PRODUCTION = {"APP_ENV": "production", "WOC_NETWORK": "test", "SMTP_HOST": "", **NO_DATABASE}


def send(caller: Caller, path: str, body: Any) -> tuple[int, Any]:
    """Posts whatever it is; answers status and JSON."""
    # Lone surrogates are written as escapes.
    answer = caller.app.test_client().post(
        path, data=json.dumps(body), content_type="application/json"
    )
    return answer.status_code, answer.json


@pytest.mark.parametrize("path", [REQUEST, SUBMIT])
@pytest.mark.parametrize(
    "identifier",
    [
        None,
        "",
        "   ",
        1,
        True,
        1.5,
        [],
        [ADDRESS],
        {"$ne": None},
        {"email": ADDRESS},
        "owner",
        "owner@home",
        "owner@home.example, thief@away.example",
        "Owner <owner@home.example>",
        "owner@home.example\r\nBcc: thief@away.example",
        "owner\x00@home.example",
        "\ud800@home.example",
        "\u212aate@home.example",
        "o" * 10_240,
        "o" * 10_240 + "@home.example",
        "owner@" + "h." * 5_000 + "example",
    ],
)
def test_f29_an_identifier_that_is_no_address_is_named(
    caller: Caller, path: str, identifier: Any
) -> None:
    status, answer = send(caller, path, {"identifier": identifier, "code": "123456"})

    assert status == 400
    assert answer["success"] is False
    assert answer["error"]["message"]
    assert [detail["field"] for detail in answer["error"]["details"]] == ["identifier"]


@pytest.mark.parametrize(
    "code",
    [
        None,
        "",
        123456,
        123456.0,
        ["123456"],
        {"$gt": ""},
        "12345",
        "1234567",
        "12345a",
        " 123456",
        "123456\n",
        "-12345",
        "+12345",
        "1e5000",
        "\u0661\u0662\u0663\u0664\u0665\u0666",
        "\x00" * 6,
        "\ud800" * 6,
        "1" * 10_240,
    ],
)
def test_a_code_that_is_not_six_digits_is_named(caller: Caller, code: Any) -> None:
    status, answer = send(caller, SUBMIT, {"identifier": ADDRESS, "code": code})

    assert status == 400
    assert [detail["field"] for detail in answer["error"]["details"]] == ["code"]


def test_every_problem_is_told_at_once(caller: Caller) -> None:
    status, answer = send(caller, SUBMIT, {"userId": "x"})

    assert status == 400
    fields = {detail["field"]: detail["message"] for detail in answer["error"]["details"]}
    assert fields == {"identifier": "is required", "code": "is required"}


@pytest.mark.parametrize("path", [REQUEST, SUBMIT])
def test_o2_without_the_database_the_answer_is_503(caller: Caller, path: str) -> None:
    caller.start(**CALM, **NO_DATABASE)

    status, answer = send(caller, path, {"identifier": ADDRESS, "code": "123456"})

    assert status == 503
    assert answer["code"] == "service_unavailable"
    assert answer["success"] is False


def test_p4_f23_production_without_a_mail_server_refuses(
    caller: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    caller.start(**CALM, **PRODUCTION, LOG_LEVEL="debug")

    status, answer = send(caller, REQUEST, {"identifier": ADDRESS})

    assert (status, answer["code"]) == (503, "mail_not_configured")
    assert "dev_code" not in answer
    assert ADDRESS not in capsys.readouterr().err


def test_p6_no_address_and_no_code_reaches_the_log(
    caller: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    for settings in ({}, NO_DATABASE):
        caller.start(**CALM, **settings, LOG_LEVEL="debug")
        for path in (REQUEST, SUBMIT):
            send(caller, path, {"identifier": ADDRESS, "code": "123456"})
            send(caller, path, {"identifier": [ADDRESS], "code": ["123456"]})

    said = capsys.readouterr().err
    assert "request failed" in said
    assert "mail sent" in said
    assert ADDRESS not in said
    assert "123456" not in said
