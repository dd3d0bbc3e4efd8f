"""Routes, the OpenAPI document and the contract agree."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

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

WAYS = (
    ANYONE,
    API_KEY,
    ADMIN_KEY,
    POS_KEY,
    METRICS_KEY,
    METRICS_KEY_IF_REQUIRED,
    BEARER,
    BEARER_EVEN_ERASED,
)
# What the contract says, in its words.
CONTRACT = {
    ("GET", "/__ping"): ANYONE,
    ("GET", "/health"): ANYONE,
    ("GET", "/ready"): ANYONE,
    ("GET", "/openapi.json"): ANYONE,
    ("GET", "/docs"): ANYONE,
    ("GET", "/docs/"): ANYONE,
    ("GET", "/docs/md/{name}"): ANYONE,
    ("GET", "/metrics"): METRICS_KEY_IF_REQUIRED,
    ("GET", "/internal/metrics"): METRICS_KEY,
    ("POST", "/v1/patches"): API_KEY,
    ("GET", "/v1/patches/verify/{uid_tag_id}"): ANYONE,
    ("GET", "/v1/patches/{uid_tag_id}/history"): ANYONE,
    ("POST", "/v1/patches/{txid}/transfer-ownership"): BEARER,
    ("POST", "/v1/patches/{uid_tag_id}/unlock-challenge"): API_KEY,
    ("POST", "/v1/patches/{uid_tag_id}/unlock-content"): API_KEY,
    ("GET", "/v1/patches/pending/registration/{record_id}"): ANYONE,
    ("GET", "/v1/patches/pending/transfer/{record_id}"): ANYONE,
    ("GET", "/v1/admin/utxo-health"): ADMIN_KEY,
    ("POST", "/v1/admin/utxo-maintain"): ADMIN_KEY,
    ("POST", "/v1/admin/utxo-maintenance"): ADMIN_KEY,
    ("POST", "/v1/admin/batch-anchor"): ADMIN_KEY,
    ("GET", "/v1/admin/invariants"): ADMIN_KEY,
    ("POST", "/v1/pos/claim-intent"): ANYONE,
    ("POST", "/v1/pos/claim-approve"): POS_KEY,
    ("GET", "/v1/pos/claim-status/{claim_id}"): ANYONE,
    ("GET", "/v1/privacy/export"): BEARER,
    ("DELETE", "/v1/privacy/delete"): BEARER_EVEN_ERASED,
    ("POST", "/v1/privacy/keys"): BEARER,
    ("GET", "/certificates/certificate.html"): ANYONE,
    ("GET", "/certificates/pdf"): ANYONE,
    ("GET", "/certificates/{txid}"): ANYONE,
    ("POST", "/v1/auth/request-verification"): ANYONE,
    ("POST", "/v1/auth/submit-verification"): ANYONE,
    ("POST", "/v1/auth/logout"): BEARER,
    ("POST", "/api/svd/register-challenge"): ANYONE,
    ("POST", "/api/svd/register"): ANYONE,
    ("POST", "/api/svd/rotate"): ANYONE,
    ("POST", "/api/svd/begin"): ANYONE,
    ("POST", "/api/svd/complete"): ANYONE,
    ("GET", "/api/svd/kid"): ANYONE,
    ("GET", "/api/svd/canary"): METRICS_KEY,
}
UNDOCUMENTED = {("GET", "/static/{name}")}
# What people see, failures too.
PAGES = {("GET", "/certificates/certificate.html"), ("GET", "/certificates/{txid}")}
# Where the body is what somebody is known by.
LOGINS = {
    ("POST", "/v1/auth/submit-verification"),
    ("POST", "/v1/pos/claim-intent"),
    ("POST", "/api/svd/register"),
    ("POST", "/api/svd/rotate"),
    ("POST", "/api/svd/complete"),
}


def routes_of(app: Flask) -> set[tuple[str, str]]:
    return {
        (method, re.sub(r"<(?:[^<>:]+:)?([^<>]+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def operations_of(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def test_every_route_declares_its_authentication(app: Flask) -> None:
    for endpoint, view in app.view_functions.items():
        assert declared_by(view) in WAYS, endpoint


def test_routes_are_those_of_the_contract(app: Flask) -> None:
    assert routes_of(app) - UNDOCUMENTED == set(CONTRACT)


def test_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_document_has_every_route_and_no_other(app: Flask, document: dict[str, Any]) -> None:
    assert set(operations_of(document)) == routes_of(app) - UNDOCUMENTED


def test_document_names_the_authentication(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    for route, operation in operations_of(document).items():
        assert operation.get("security", []) == CONTRACT[route].security, route
        for requirement in operation.get("security", []):
            assert set(requirement) <= set(schemes)


def test_failures_are_documented_with_the_shared_body(document: dict[str, Any]) -> None:
    shared = {"ErrorBody", "VerificationNotFound", "VerificationFailed", "NotReady", "AdminFailure"}
    shared |= {"CodeFailure", "CodeRefusal", "CanaryFailure"}
    for route, operation in operations_of(document).items():
        failures = {s: r for s, r in operation["responses"].items() if int(s) >= 400}
        assert "500" in failures, route
        is_known = CONTRACT[route] is not ANYONE or route in LOGINS
        assert ("401" in failures) == is_known, route
        assert ("403" in failures) >= (CONTRACT[route].scope is not None), route
        assert ("413" in failures) == ("requestBody" in operation), route
        for status, response in failures.items():
            if route in PAGES:
                assert set(response["content"]) == {"text/html"}, (route, status)
                continue
            reference = response["content"]["application/json"]["schema"]["$ref"]
            assert reference.rpartition("/")[2] in shared, (route, status)


def test_bodies_take_no_unknown_members(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in (
        "RegistrationBody",
        "Product",
        "Metadata",
        "Ownership",
        "TransferBody",
        "ClaimIntentBody",
        "PosCustomer",
        "PosChallenge",
        "ClaimApproveBody",
        "MaintenanceBody",
        "KeyProofBody",
    ):
        assert schemas[name]["additionalProperties"] is False, name


def test_operations_have_unique_ids_and_summaries(document: dict[str, Any]) -> None:
    operations = operations_of(document)
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)
    assert all(operation["summary"] for operation in operations.values())
