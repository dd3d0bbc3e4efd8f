"""What anyone may ask without saying who they are tells nothing about people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from flask import Flask

from app import factory
from app.api.authentication import ANYONE, declared_by
from tests.contracts.test_routes import operations_of

Route = tuple[str, str]

# Every route that is open, so that a new one is opened knowingly.
OPEN = {
    ("GET", "/__ping"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/"),
    ("GET", "/docs/md/{name}"),
    ("GET", "/v1/patches/verify/{uid_tag_id}"),
    ("GET", "/v1/patches/{uid_tag_id}/history"),
    ("GET", "/v1/patches/pending/registration/{record_id}"),
    ("GET", "/v1/patches/pending/transfer/{record_id}"),
    ("GET", "/certificates/certificate.html"),
    ("GET", "/certificates/pdf"),
    ("GET", "/certificates/{txid}"),
    ("POST", "/v1/auth/request-verification"),
    ("POST", "/v1/auth/submit-verification"),
    ("POST", "/api/svd/register-challenge"),
    ("POST", "/api/svd/register"),
    ("POST", "/api/svd/rotate"),
    ("POST", "/api/svd/begin"),
    ("POST", "/api/svd/complete"),
    ("GET", "/api/svd/kid"),
    ("POST", "/v1/pos/claim-intent"),
    ("GET", "/v1/pos/claim-status/{claim_id}"),
}
PERSONAL = re.compile(
    r"e?mail|identifier|customer|user_?id|phone|cashier|approved_?by|pub_?key|pmc|signature"
    r"|ip_?address|key_(name|prefix)",
    re.IGNORECASE,
)
# Members that clients of the older system read; what stands in them is tested with their routes.
CONTRACTED = {
    ("GET", "/v1/pos/claim-status/{claim_id}", "approvedBy"),
    ("POST", "/api/svd/begin", "pmcHex"),
    ("GET", "/v1/patches/verify/{uid_tag_id}", "issuerSignatureValid"),
}


def members(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    """The names of all members that an answer may have, at every depth."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from members(document["components"]["schemas"][name], document)
    for name, value in schema.get("properties", {}).items():
        yield name
        yield from members(value, document)
    inner = [each for word in ("anyOf", "oneOf", "allOf") for each in schema.get(word, ())]
    inner += [schema.get(word) for word in ("items", "additionalProperties")]
    for each in inner:
        if isinstance(each, Mapping):
            yield from members(each, document)


def open_operations(document: Mapping[str, Any]) -> dict[Route, Mapping[str, Any]]:
    """The operations that ask for no credentials, by the document's own word."""
    return {
        route: operation
        for route, operation in operations_of(dict(document)).items()
        if not operation.get("security")
    }


def test_each_blueprint_declares_who_may_call_its_routes(app: Flask) -> None:
    declaring = {
        endpoint.partition(".")[0]
        for endpoint, view in app.view_functions.items()
        if declared_by(view) is not None
    }
    assert declaring == {blueprint.name for blueprint in factory.BLUEPRINTS}


def test_open_routes_are_those_that_are_meant_to_be(document: dict[str, Any]) -> None:
    assert set(open_operations(document)) == OPEN


def test_no_route_under_a_keyed_path_is_open(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        if re.match(r"/(v1/(admin|privacy)|internal)/", rule.rule):
            assert declared_by(app.view_functions[rule.endpoint]) is not ANYONE, rule.rule


@pytest.mark.parametrize("route", sorted(OPEN), ids=" ".join)
def test_p5_open_routes_name_nobody(document: dict[str, Any], route: Route) -> None:
    for status, response in open_operations(document)[route]["responses"].items():
        for content in response.get("content", {}).values():
            for name in members(content["schema"], document):
                is_told = PERSONAL.search(name) and (*route, name) not in CONTRACTED
                assert not is_told, (status, name)
