"""Logging out: a token is over at once and for as long as it would have lasted."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from werkzeug.test import TestResponse

from app import extensions
from app.services import tokens
from tests.integration.api.caller import Caller
from tests.integration.login.people import Person, code_of

TRANSFER = f"/v1/patches/{'aa' * 32}/transfer-ownership"


def with_token(caller: Caller, path: str, token: str) -> TestResponse:
    """Sends a request with a token and an empty body."""
    headers = {"Authorization": f"Bearer {token}"}
    return caller.send_without_key("POST", path, json={}, headers=headers)


def log_out(caller: Caller, token: str) -> TestResponse:
    return with_token(caller, "/v1/auth/logout", token)


def foreign(caller: Caller, **claims: Any) -> str:
    """A token that another service with the same secret has signed."""
    made = {"sub": "somebody", "exp": int(time.time()) + 600} | claims
    return jwt.encode(made, caller.lab.env["JWT_SECRET"], algorithm="HS256")


def test_a_token_of_a_login_by_key_ends_with_the_logout(caller: Caller, person: Person) -> None:
    token = person.complete(person.begin()).json["token"]
    assert with_token(caller, TRANSFER, token).status_code == 400
    response = log_out(caller, token)
    assert (response.status_code, response.json["success"]) == (200, True)
    for path in (TRANSFER, "/v1/auth/logout"):
        assert code_of(with_token(caller, path, token)) == (401, "token_revoked")
    assert person.log_in()


@pytest.mark.parametrize(
    "issue",
    [lambda: tokens.issue("somebody"), lambda: tokens.issue_email("somebody@example.com")],
    ids=["development", "mail"],
)
def test_so_does_any_other_token(caller: Caller, issue: Any) -> None:
    token, other = issue(), issue()
    assert log_out(caller, token).status_code == 200
    assert code_of(log_out(caller, token)) == (401, "token_revoked")
    assert log_out(caller, other).status_code == 200


def test_a_logout_is_kept_until_the_token_would_have_expired(caller: Caller) -> None:
    for token, life in ((tokens.issue("a"), 900), (tokens.issue_email("a@example.com"), 86_400)):
        assert log_out(caller, token).status_code == 200
        (key,) = extensions.get().redis.keys("session:over:*")
        assert life - 60 < extensions.get().redis.ttl(key) <= life + 1
        extensions.get().redis.delete(key)


def test_a_token_for_ever_is_logged_out_for_a_year(caller: Caller) -> None:
    token = foreign(caller, jti="a" * 10_000, exp=10**15)
    assert log_out(caller, token).status_code == 200
    assert code_of(log_out(caller, token)) == (401, "token_revoked")
    (key,) = extensions.get().redis.keys("session:over:*")
    assert extensions.get().redis.ttl(key) == 366 * 86_400


def test_a_token_without_an_id_is_good_until_its_end(caller: Caller) -> None:
    token = foreign(caller)
    assert code_of(log_out(caller, token)) == (400, "invalid_request")
    assert with_token(caller, TRANSFER, token).status_code == 400


def test_s14_a_mailed_login_can_not_pass_for_one_by_key(caller: Caller, person: Person) -> None:
    by_mail = tokens.verify(tokens.issue_email(f"{person.user_id}@example.com"))
    assert "cnf" not in by_mail
    assert by_mail["sub"] != person.user_id
    claimed = foreign(caller, jti="x", cnf={"msha256": "ab" * 32})
    assert code_of(with_token(caller, TRANSFER, claimed)) == (401, "invalid_svd_binding")


def test_a_token_of_the_previous_secret_is_logged_out_as_well(caller: Caller) -> None:
    before = tokens.issue("somebody")
    caller.start(JWT_SECRET="n" * 40, JWT_SECRET_PREVIOUS=caller.lab.env["JWT_SECRET"])
    assert log_out(caller, before).status_code == 200
    assert code_of(log_out(caller, before)) == (401, "token_revoked")
