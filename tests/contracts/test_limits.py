"""Every route has the limits of this table, and they are what docs/limits.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask

from app.api import limits
from app.api.limits import (
    AUTH_ADDRESS,
    AUTH_REQUEST,
    AUTH_SUBMIT,
    AUTH_SUBMIT_IDENTIFIER,
    CERTIFICATE_PDF,
    CLAIM_INTENT,
    DOOR,
    POLLING,
    PRIVACY,
    PUBLIC,
    PUBLIC_READING,
    READING,
    REFUSED_KEY,
    SVD_BEGIN,
    SVD_CANARY,
    SVD_COMPLETE,
    WRITING,
    Counted,
    Limit,
    declared_by,
)
from app.config import Settings
from tests.contracts.test_routes import operations_of

NONE: tuple[Limit, ...] = ()
TABLE = {
    # Probes ask often and cost little.
    "GET /__ping": NONE,
    "GET /health": NONE,
    "GET /ready": NONE,
    "GET /openapi.json": (READING,),
    "GET /docs": (READING,),
    "GET /docs/": (READING,),
    "GET /docs/md/<name>": (READING,),
    "GET /metrics": (REFUSED_KEY, READING),
    "GET /internal/metrics": (REFUSED_KEY,),
    "POST /v1/patches": (REFUSED_KEY, WRITING),
    "GET /v1/patches/verify/<uid_tag_id>": (READING,),
    "GET /v1/patches/<uid_tag_id>/history": (READING,),
    "GET /certificates/certificate.html": (READING,),
    "GET /certificates/<txid>": (READING,),
    "GET /certificates/pdf": (READING, CERTIFICATE_PDF),
    "GET /static/<name>": (READING,),
    "POST /v1/patches/<txid>/transfer-ownership": (WRITING,),
    "POST /v1/patches/<uid_tag_id>/unlock-challenge": (REFUSED_KEY, WRITING),
    "POST /v1/patches/<uid_tag_id>/unlock-content": (REFUSED_KEY, WRITING),
    "GET /v1/patches/pending/registration/<record_id>": (POLLING,),
    "GET /v1/patches/pending/transfer/<record_id>": (POLLING,),
    # The operator's own; upkeep excludes itself.
    "GET /v1/admin/utxo-health": (REFUSED_KEY,),
    "POST /v1/admin/utxo-maintain": (REFUSED_KEY,),
    "POST /v1/admin/utxo-maintenance": (REFUSED_KEY,),
    "POST /v1/admin/batch-anchor": (REFUSED_KEY,),
    "GET /v1/admin/invariants": (REFUSED_KEY,),
    "POST /v1/pos/claim-intent": (CLAIM_INTENT,),
    "POST /v1/pos/claim-approve": (REFUSED_KEY, WRITING),
    "GET /v1/pos/claim-status/<claim_id>": (POLLING,),
    "GET /v1/privacy/export": (PRIVACY,),
    "DELETE /v1/privacy/delete": (PRIVACY,),
    "POST /v1/privacy/keys": (PRIVACY,),
    "POST /v1/auth/request-verification": (AUTH_ADDRESS, AUTH_REQUEST),
    "POST /v1/auth/submit-verification": (AUTH_ADDRESS, AUTH_SUBMIT, AUTH_SUBMIT_IDENTIFIER),
    "POST /v1/auth/logout": (WRITING,),
    "POST /api/svd/register-challenge": (PUBLIC, SVD_BEGIN),
    "POST /api/svd/register": (PUBLIC, SVD_COMPLETE),
    "POST /api/svd/rotate": (PUBLIC, SVD_COMPLETE),
    "POST /api/svd/begin": (PUBLIC, SVD_BEGIN),
    "POST /api/svd/complete": (PUBLIC, SVD_COMPLETE),
    "GET /api/svd/kid": (PUBLIC_READING,),
    "GET /api/svd/canary": (REFUSED_KEY, PUBLIC_READING, SVD_CANARY),
}
# The names in Redis hold the older system's.
PREFIXES = {
    PUBLIC: "public",
    PUBLIC_READING: "public",
    SVD_BEGIN: "svd-begin",
    SVD_COMPLETE: "svd-complete",
    SVD_CANARY: "svd-canary",
    AUTH_REQUEST: "auth-request",
    AUTH_SUBMIT: "auth-submit",
}
LIMITS = [each for each in vars(limits).values() if isinstance(each, Limit)]
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")


def test_s22_every_route_has_the_limits_of_the_table(app: Flask) -> None:
    found = {
        f"{method} {re.sub('<[^<>:]+:', '<', rule.rule)}": tuple(
            declared_by(app.view_functions[rule.endpoint])
        )
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert found == TABLE


def test_every_limit_of_the_door_is_asked_there() -> None:
    """One that DOOR leaves out would count nothing."""
    declared = {limit for its_limits in TABLE.values() for limit in its_limits}

    assert {limit for limit in declared if limit.is_at_door} == set(DOOR)
    assert len(DOOR) == len(set(DOOR))


def test_only_the_door_looks_and_only_behind_it_places_go_back() -> None:
    """What is given back is looked for among the limits that were asked last."""
    assert {limit for limit in DOOR if limit.counted is not Counted.ALL} == {REFUSED_KEY}
    assert [limit for limit in LIMITS if limit.counted is Counted.REFUSALS] == [REFUSED_KEY]


def test_everything_under_api_counts_as_public_once(app: Flask) -> None:
    for route, its_limits in TABLE.items():
        public = [limit for limit in its_limits if limit.name == "public"]
        assert len(public) == (" /api/" in route), route


def test_logins_are_closed_without_redis_and_reads_are_open() -> None:
    for route, its_limits in TABLE.items():
        is_login = "/api/svd/" in route or "verification" in route or "claim-intent" in route
        is_closed = any(limit.is_closed for limit in its_limits)
        assert is_closed == (is_login and route.startswith("POST")), route


def test_the_document_says_which_routes_are_limited(app: Flask) -> None:
    document = app.test_client().get("/openapi.json").json
    assert document is not None
    for (method, path), operation in operations_of(document).items():
        its_limits = TABLE[f"{method} {path.replace('{', '<').replace('}', '>')}"]
        assert ("429" in operation["responses"]) == bool(its_limits), path
        if any(limit.is_closed for limit in its_limits):
            assert "503" in operation["responses"], path


def test_names_in_redis_are_those_of_the_contract() -> None:
    assert {limit: limit.name for limit in PREFIXES} == PREFIXES


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_the_page_tells_each_limit_with_its_settings_and_defaults(limit: Limit) -> None:
    fields = Settings.model_fields
    maximum = fields[f"{limit.setting}_max"].default
    seconds = fields[f"{limit.setting}_window_ms"].default // 1000

    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{limit.name}` ")]
    assert f"`{limit.setting.upper()}`" in row
    assert f"| {maximum} in {seconds} s |" in row
    assert ("| closed |" in row) == limit.is_closed or limit.name == "public"
