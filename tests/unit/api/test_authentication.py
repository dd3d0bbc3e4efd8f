"""Who gets in, and that nobody gets in where a route forgot to say."""

from __future__ import annotations

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from app.services import tokens

TRANSFER = f"/v1/patches/{'aa' * 32}/transfer-ownership"
KEYED = ["/v1/patches", "/v1/patches/abc/unlock-challenge", "/v1/patches/abc/unlock-content"]


@pytest.mark.parametrize("path", KEYED)
@pytest.mark.parametrize(
    "key", [None, "", "wrong", "the-api-key\u00a0", "THE-API-KEY", "the-api-keyé"], ids=repr
)
def test_wrong_api_key_is_401(client: FlaskClient, path: str, key: str | None) -> None:
    headers = {} if key is None else {"x-api-key": key}
    response = client.post(path, json={}, headers=headers)
    assert response.status_code == 401
    assert response.json is not None
    assert response.json["code"] == "unauthorized"


@pytest.mark.parametrize("path", KEYED)
def test_right_api_key_gets_in(client: FlaskClient, path: str) -> None:
    response = client.post(path, json={}, headers={"x-api-key": "the-api-key"})
    assert response.status_code in (400, 503)


def test_a_token_is_no_api_key(client: FlaskClient, bearer: dict[str, str]) -> None:
    assert client.post("/v1/patches", json={}, headers=bearer).status_code == 401


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "bearer TOKEN", "BEARER TOKEN", "Basic TOKEN", "TOKEN"],
)
def test_missing_token_is_401(client: FlaskClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.replace("TOKEN", "a.b.c")}
    response = client.post(TRANSFER, json={}, headers=headers)
    assert response.status_code == 401
    assert response.json is not None
    assert response.json["code"] == "missing_token"


@pytest.mark.parametrize(
    ("token", "code"),
    [("a.b.c", "token_invalid"), ("EXPIRED", "token_expired"), ("é", "token_invalid")],
)
def test_bad_token_is_401_with_its_code(client: FlaskClient, token: str, code: str) -> None:
    if token == "EXPIRED":
        token = tokens.issue("user", ttl_seconds=-1)
    response = client.post(TRANSFER, json={}, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 401
    assert response.json is not None
    assert response.json["code"] == code


def test_good_token_gets_in_without_an_api_key(client: FlaskClient, bearer: dict[str, str]) -> None:
    assert client.post(TRANSFER, json={}, headers=bearer).status_code == 400


@pytest.mark.parametrize("path", [TRANSFER, "/v1/auth/logout"])
def test_while_redis_is_away_nobody_with_a_token_gets_in(client: FlaskClient, path: str) -> None:
    for token in (tokens.issue("user"), tokens.issue_email("user@example.com")):
        response = client.post(path, json={}, headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == 503
        assert response.json is not None
        assert response.json["code"] == "service_unavailable"
        assert int(response.headers["Retry-After"]) > 0


def test_a_token_without_an_id_can_not_be_logged_out(
    client: FlaskClient, bearer: dict[str, str]
) -> None:
    response = client.post("/v1/auth/logout", headers=bearer)
    assert response.status_code == 400
    assert "jti" in response.get_data(as_text=True)


def test_a_route_that_declares_nothing_lets_nobody_in(app: Flask) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: Response("open"))
    response = app.test_client().get("/forgotten", headers={"x-api-key": "the-api-key"})
    assert response.status_code == 500
    assert b"open" not in response.get_data()
