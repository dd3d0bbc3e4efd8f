"""Claims and approvals: what reaches the services is well formed, and the rest is named."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import ValidationError

from app.api.schemas.pos import ClaimApproveBody, ClaimIntentBody
from app.api.validation import describe
from app.bitcoin.keys import N
from tests.unit.api.test_transfer_and_unlock_bodies import (
    ADDRESS,
    BAD_KEYS,
    BAD_SIGNATURES,
    PUBLIC_KEY,
    SIGNATURE,
    der,
    problems_of,
)

pytestmark = pytest.mark.usefixtures("app")

KEY = {"x-api-key": "the-api-key"}
MISSING: Any = object()


def intent(**changes: Any) -> dict[str, Any]:
    """A whole claim; `changes` name a field by its path with two underscores, MISSING takes it."""
    body: dict[str, Any] = {
        "uid": "NFC_UID_001",
        "customer": {"address": ADDRESS, "userId": "customer-1", "pubKey": PUBLIC_KEY},
        "challenge": {"ts": 1_700_000_000_000, "nonce": "abcdef"},
        "signature": SIGNATURE,
    }
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = body
        for parent in parents:
            place = place[parent]
        if value is MISSING:
            del place[name]
        else:
            place[name] = value
    return body


def approval(**changes: Any) -> dict[str, Any]:
    body = {"intentId": "65f0000000000000000000aa", "approvedBy": "Ann", **changes}
    return {name: value for name, value in body.items() if value is not MISSING}


def refuse_intent(**changes: Any) -> dict[str, str]:
    """What is wrong with a claim, by field; over HTTP the limit of this route comes first."""
    try:
        ClaimIntentBody.model_validate(intent(**changes))
    except ValidationError as error:
        described = [describe(each) for each in error.errors(include_input=False)]
        return {each["field"]: each["message"] for each in described}
    return {}


def refuse_approval(client: FlaskClient, **changes: Any) -> dict[str, str]:
    return problems_of(client.post("/v1/pos/claim-approve", json=approval(**changes), headers=KEY))


def test_a_whole_claim_is_read() -> None:
    body = ClaimIntentBody.model_validate(
        intent(
            uid=" NFC_UID_001 ",
            customer__userId=" A@Example.COM ",
            customer__pubKey=PUBLIC_KEY.upper(),
            signature=SIGNATURE.upper(),
        )
    )

    assert body.uid == "NFC_UID_001"
    assert body.customer == {"address": ADDRESS, "userId": "a@example.com", "pubKey": PUBLIC_KEY}
    assert body.signature == SIGNATURE


WRONG: dict[str, list[Any]] = {
    "uid": [MISSING, None, 7, "", "ab", "x" * 129, "a\x00bc", "\ud800abc", ["NFC"], "x" * 10_000],
    "customer": [MISSING, None, "x", [], 7],
    "customer__address": [
        *(MISSING, None, 7, "", "x", ADDRESS[:-1] + "8", "x" * 10_000, "\x00"),
        "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9",
    ],
    "customer__userId": [MISSING, None, 7, "", "  ", "x" * 129, "a\x00b", "\ud800", {}],
    "customer__pubKey": [MISSING, None, 7, *BAD_KEYS.values(), "0" * 10_000],
    "challenge": [MISSING, None, "x", [], 7],
    "challenge__ts": [
        *(
            MISSING,
            None,
            "1700000000000",
            1.7e12,
            1_700_000_000_000.5,
            True,
            -1,
            2**53,
            10**300,
            [],
        ),
    ],
    "challenge__nonce": [
        *(
            MISSING,
            None,
            7,
            "",
            "abcde",
            "x" * 129,
            "abcde\x00",
            "abcde\n",
            "\ud800bcdef",
            [],
            123456,
        ),
    ],
    "signature": [MISSING, None, 7, *BAD_SIGNATURES.values(), der(1, N - 1), "0" * 10_000],
}


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in WRONG.items() for value in values]
)
def test_f29_each_field_of_a_claim_is_checked_and_named(path: str, value: Any) -> None:
    problems = refuse_intent(**{path: value})

    assert list(problems) == [path.replace("__", ".")]


def test_s19_a_claims_signature_has_a_low_s() -> None:
    assert "high S" in refuse_intent(signature=der(1, N - 1))["signature"]


@pytest.mark.parametrize("path", ["extra", "customer__extra", "challenge__extra"])
def test_unknown_fields_of_a_claim_are_refused_at_every_depth(path: str) -> None:
    assert refuse_intent(**{path: 1}) == {
        path.replace("__", "."): "is not a known field",
    }


def test_every_problem_of_a_claim_is_named() -> None:
    changes = {"uid": None, "customer__extra": 1, "challenge__ts": "x", "signature": MISSING}
    assert set(refuse_intent(**changes)) == {
        "uid",
        "customer.extra",
        "challenge.ts",
        "signature",
    }


WRONG_APPROVALS: dict[str, list[Any]] = {
    "intentId": [MISSING, None, 7, "", "x" * 257, "a\x00", "\ud800", []],
    "approvedBy": [MISSING, None, 7, "", "   ", "x" * 129, "a\x00b", "a\nb", "\x85", "\ud800", []],
    "currentOwnerSignature": [None, 7, *BAD_SIGNATURES.values(), der(1, N - 1)],
    "currentOwnerPubKey": [None, 7, *BAD_KEYS.values()],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in WRONG_APPROVALS.items() for value in values],
)
def test_each_field_of_an_approval_is_checked_and_named(
    client: FlaskClient, field: str, value: Any
) -> None:
    assert list(refuse_approval(client, **{field: value})) == [field]


def test_unknown_fields_of_an_approval_are_refused(client: FlaskClient) -> None:
    assert refuse_approval(client, extra=1) == {"extra": "is not a known field"}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"currentOwnerSignature": SIGNATURE}, "currentOwnerPubKey"),
        ({"currentOwnerPubKey": PUBLIC_KEY}, "currentOwnerSignature"),
    ],
)
def test_half_of_an_owners_word_names_the_other_half(
    client: FlaskClient, given: dict[str, str], missing: str
) -> None:
    assert list(refuse_approval(client, **given)) == [missing]


def test_an_approvers_name_of_128_characters_is_one() -> None:
    name = "Ä" * 128

    assert ClaimApproveBody.model_validate(approval(approvedBy=f" {name} ")).approved_by == name


def test_s13_an_approval_without_a_key_is_not_read(client: FlaskClient) -> None:
    response = client.post("/v1/pos/claim-approve", json={"nonsense": 1})

    assert response.status_code == 401
    assert response.json is not None
    assert response.json["code"] == "unauthorized"
