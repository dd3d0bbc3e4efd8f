"""Headers of every answer: origins, security, entity tags."""

from __future__ import annotations

from typing import Any

import pytest
from flask import request
from flask.testing import FlaskClient

from app.api.headers import EXPOSED_HEADERS

PRODUCTION = {
    "APP_ENV": "production",
    "MONGODB_URI": "mongodb://user:password@127.0.0.1:1/?directConnection=true",
    "REDIS_URL": "redis://:password@127.0.0.1:1/0",
    "WOC_NETWORK": "test",
    "CORS_ALLOWED_ORIGINS": "https://shop.example, https://app.example",
}
PATHS = ["/health", "/ready", "/openapi.json", "/nothing", "/v1/patches/verify/ab"]


@pytest.fixture
def production(make_app: Any) -> FlaskClient:
    client: FlaskClient = make_app(**PRODUCTION).test_client()
    return client


def test_any_origin_is_reflected_outside_production(client: FlaskClient) -> None:
    response = client.get("/health", headers={"Origin": "http://localhost:5173"})
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
    assert "Origin" in response.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize("origin", ["https://shop.example", "https://app.example"])
def test_allowed_origin_is_reflected_in_production(production: FlaskClient, origin: str) -> None:
    response = production.get("/health", headers={"Origin": origin})
    assert response.headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://shop.example.evil.example", "null", ""]
)
def test_f29_refused_origin_gets_no_header_and_no_error(
    production: FlaskClient, origin: str
) -> None:
    response = production.get("/health", headers={"Origin": origin})
    assert response.status_code == 200
    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


def test_errors_carry_the_origin_too(client: FlaskClient) -> None:
    response = client.post("/v1/patches", headers={"Origin": "http://localhost:5173"})
    assert response.status_code == 401
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"


def test_preflight_needs_no_key(client: FlaskClient) -> None:
    response = client.options(
        "/v1/patches",
        headers={
            "Origin": "http://localhost:5173",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,x-api-key",
        },
    )
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Methods"] == "GET,HEAD,PUT,PATCH,POST,DELETE"
    assert response.headers["Access-Control-Allow-Headers"] == "content-type,x-api-key"


def test_f29_a_refused_preflight_is_no_error(production: FlaskClient) -> None:
    response = production.options(
        "/api/svd/begin",
        headers={
            "Origin": "https://evil.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
    )
    assert response.status_code == 200
    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
    assert "Origin" in response.headers["Vary"]


def test_pages_may_read_what_tells_them_how_to_go_on(client: FlaskClient) -> None:
    response = client.get("/nothing", headers={"Origin": "http://localhost:5173"})
    exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    assert set(exposed) == set(EXPOSED_HEADERS)
    assert {"Location", "Retry-After", "X-Request-Id", "RateLimit-Policy"} <= set(exposed)


@pytest.mark.parametrize("path", PATHS)
def test_security_headers_are_everywhere(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "Strict-Transport-Security" not in headers


def test_strict_transport_is_asked_for_in_production(production: FlaskClient) -> None:
    assert "max-age=" in production.get("/health").headers["Strict-Transport-Security"]


def test_json_that_was_read_has_a_weak_tag(client: FlaskClient) -> None:
    first = client.get("/openapi.json")
    assert first.headers["ETag"].startswith('W/"')
    again = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    assert again.get_data() == b""


def test_failures_have_no_tag(client: FlaskClient) -> None:
    assert "ETag" not in client.get("/nothing").headers


def test_forwarded_addresses_are_believed_only_behind_a_proxy(make_app: Any) -> None:
    sent = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example"}
    for proxies, address in (("0", "127.0.0.1"), ("1", "203.0.113.9")):
        app = make_app(TRUSTED_PROXIES=proxies)
        seen: list[tuple[str, str]] = []

        def remember(seen: list[tuple[str, str]] = seen) -> None:
            seen.append((str(request.remote_addr), request.host))

        app.before_request(remember)
        app.test_client().get("/health", headers=sent)
        assert seen == [(address, "localhost")]
