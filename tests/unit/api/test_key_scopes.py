"""What a key opens, and what is left of that while the database is away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.api.authentication import (
    ADMIN_KEY,
    ANYONE,
    API_KEY,
    BEARER,
    BEARER_EVEN_ERASED,
    METRICS_KEY,
    METRICS_KEY_IF_REQUIRED,
    POS_KEY,
    declared_by,
)
from app.domain.api_keys import KeyText, Scope
from app.errors import InsufficientScopeError
from app.services.api_keys import KeyIdentity
from tests.unit.api.conftest import ENVIRON

# By the beginning of the route's rule; the first that fits.
SCOPE_OF_ROUTE = (
    ("/v1/admin/", ADMIN_KEY),
    ("/v1/patches", API_KEY),
    ("/v1/pos/", POS_KEY),
    ("/internal/metrics", METRICS_KEY),
    ("/api/svd/canary", METRICS_KEY),
    ("/metrics", METRICS_KEY_IF_REQUIRED),
)


def keyed_routes(app: Flask) -> Iterator[tuple[str, Any]]:
    """Every rule that asks for a key, with its authentication."""
    for rule in app.url_map.iter_rules():
        declared = declared_by(app.view_functions[rule.endpoint])
        if declared not in (ANYONE, BEARER, BEARER_EVEN_ERASED):
            yield rule.rule, declared


@pytest.mark.parametrize("needed", Scope)
@pytest.mark.parametrize("held", Scope)
def test_s13_no_scope_includes_another(held: Scope, needed: Scope) -> None:
    identity = KeyIdentity("till", "0" * 12, [held.value])
    if held is needed:
        identity.require(needed)
        return
    with pytest.raises(InsufficientScopeError, match=f"lacks the scope {needed}"):
        identity.require(needed)


def test_s13_each_route_asks_for_the_scope_of_its_kind(app: Flask) -> None:
    for rule, declared in keyed_routes(app):
        expected = next(way for start, way in SCOPE_OF_ROUTE if rule.startswith(start))
        assert declared is expected, rule


def test_the_document_names_the_scope_of_each_operation(client: FlaskClient) -> None:
    document: Any = client.get("/openapi.json").json
    for path, item in document["paths"].items():
        for operation in item.values():
            for requirement in operation.get("security", []):
                roles = requirement.get("apiKey")
                assert roles is None or (len(roles) == 1 and roles[0] in set(Scope)), path
    description = document["components"]["securitySchemes"]["apiKey"]["description"]
    assert all(f"`{scope}`" in description for scope in Scope)


def test_a_key_that_can_not_be_looked_up_is_503(client: FlaskClient) -> None:
    key = KeyText.generate().text
    response = client.post("/v1/patches", json={}, headers={"x-api-key": key})
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert key.encode() not in response.data


def test_the_key_of_the_environment_needs_no_database(client: FlaskClient) -> None:
    response = client.post("/v1/patches", json={}, headers={"x-api-key": "the-api-key"})
    assert response.status_code == 400


def test_what_is_no_key_is_refused_without_the_database(client: FlaskClient) -> None:
    response = client.post("/v1/patches", json={}, headers={"x-api-key": "pp_nonsense"})
    assert response.status_code == 401


@pytest.mark.parametrize("given", [None, "", " ", "None"], ids=repr)
def test_without_the_key_of_the_environment_nothing_equals_it(
    make_app: Any, given: str | None
) -> None:
    client = make_app(API_KEY="").test_client()
    headers = {} if given is None else {"x-api-key": given}
    response = client.post("/v1/patches", json={}, headers=headers)
    assert response.status_code == 401
    assert response.json["code"] == "unauthorized"


@pytest.mark.parametrize(
    "given",
    ["x" * 10_240, "\xff" * 300, "the-api-key,the-api-key", "the-api-key\x00", "\t the-api-key"],
    ids=lambda given: repr(given[:16]),
)
def test_hostile_headers_are_401(client: FlaskClient, given: str) -> None:
    # Set below werkzeug, which refuses to send some of them.
    response = client.post("/v1/patches", json={}, environ_base={"HTTP_X_API_KEY": given})
    assert response.status_code == 401


@pytest.mark.parametrize("name", ["KMS_API_KEY", "JWT_SECRET", "MASTER_SECRET"])
def test_s4_no_other_secret_is_a_key(client: FlaskClient, name: str) -> None:
    headers = {"x-api-key": ENVIRON[name], "Authorization": f"Bearer {ENVIRON[name]}"}
    assert client.post("/v1/patches", json={}, headers=headers).status_code == 401


def test_the_log_tells_whose_key_it_was(client: FlaskClient, read_log: Any) -> None:
    client.post("/v1/patches", json={}, headers={"x-api-key": "the-api-key"})
    client.post("/v1/patches", json={}, headers={"x-api-key": "wrong"})
    first, second = (line for line in read_log() if line.get("event") == "http.request")
    assert (first["key_name"], first["key_prefix"]) == ("API_KEY", None)
    assert "key_name" not in second
