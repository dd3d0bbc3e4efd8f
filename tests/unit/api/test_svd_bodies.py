"""Bodies of the login by key: what reaches the services is well formed, what does not is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.schemas.svd import CompleteBody, RegisterBody, RotateBody, UserBody
from app.domain import svd
from app.domain.clock import utc_now

USER, CHALLENGE = "507f1f77bcf86cd799439011", "00" * 24
PMC = "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa"
SIGNATURE = "3006020101020101"
NONCE = "ab" * 24
BODIES = {
    "begin": {"userId": USER},
    "register-challenge": {"userId": USER},
    "register": {"userId": USER, "pmcHex": PMC, "nonce": NONCE, "signatureHex": SIGNATURE},
    "rotate": {
        "userId": USER,
        "newPmcHex": PMC,
        "nonce": NONCE,
        "signatureHex": SIGNATURE,
        "newSignatureHex": SIGNATURE,
    },
    "complete": {"userId": USER, "M": CHALLENGE, "signatureHex": SIGNATURE},
}
MODELS = {
    "begin": UserBody,
    "register-challenge": UserBody,
    "register": RegisterBody,
    "rotate": RotateBody,
    "complete": CompleteBody,
}
FIELDS = [(path, field) for path, body in BODIES.items() for field in body]
OPTIONAL = {("register", "nonce"), ("register", "signatureHex")}
LENGTHS = {"userId": 24, "M": 48, "nonce": 48, "pmcHex": 66, "newPmcHex": 66}
NO_STRINGS: list[Any] = [None, 7, 1.5, True, [], {}, [USER], {"a": USER}, 10**30]


@pytest.fixture(autouse=True)
def open_doors(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every request to its body: how often one may ask is tested where limits are."""
    monkeypatch.setattr("app.api.windows._go_on_without", lambda: None)


def problems(client: FlaskClient, path: str, body: Any) -> dict[str, str]:
    """What is wrong with a body, by field."""
    response = client.post(f"/api/svd/{path}", json=body)
    assert response.status_code == 400, response.get_data(as_text=True)
    assert response.json is not None
    assert response.json["code"] == "invalid_request"
    return {d["field"]: d["message"] for d in response.json["error"]["details"]}


@pytest.mark.parametrize(("path", "field"), FIELDS)
@pytest.mark.parametrize("value", NO_STRINGS, ids=repr)
def test_f29_what_is_no_string_is_refused(
    client: FlaskClient, path: str, field: str, value: Any
) -> None:
    assert problems(client, path, {**BODIES[path], field: value}) == {field: "must be a string"}


@pytest.mark.parametrize(("path", "field"), FIELDS)
@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda text: text[:-1] + "g",
        lambda text: " " + text[1:],
        lambda text: text[:-1] + "\x00",
        lambda text: text[:-1] + "\n",
        lambda text: text[:-1] + "٣",
        lambda text: "0x" + text[2:],
        lambda _: "'; drop",
        lambda text: "zz" * 5000 + text,
    ],
    ids=["empty", "letter", "space", "nul", "newline", "digit", "0x", "sql", "10 KB"],
)
def test_f29_what_is_no_hex_is_refused(
    client: FlaskClient, path: str, field: str, change: Any
) -> None:
    found = problems(client, path, {**BODIES[path], field: change(BODIES[path][field])})
    expected = f"must be {LENGTHS.get(field, 'at least 10')} hexadecimal characters"
    assert found == {field: expected}


@pytest.mark.parametrize(("path", "field"), FIELDS)
def test_f29_hex_of_another_length_is_refused(client: FlaskClient, path: str, field: str) -> None:
    text = BODIES[path][field]
    wrong = [text[:9]] if field not in LENGTHS else [text[:-1], text[:-2], text + "0", text * 2]
    for each in wrong:
        assert list(problems(client, path, {**BODIES[path], field: each})) == [field]


@pytest.mark.parametrize(("path", "field"), FIELDS)
def test_lone_surrogates_are_refused(client: FlaskClient, path: str, field: str) -> None:
    raw = json.dumps({**BODIES[path], field: "\ud800" * 24})
    response = client.post(f"/api/svd/{path}", data=raw, content_type="application/json")
    assert response.status_code == 400


@pytest.mark.parametrize(("path", "field"), [each for each in FIELDS if each not in OPTIONAL])
def test_a_missing_field_is_named(client: FlaskClient, path: str, field: str) -> None:
    body = {name: value for name, value in BODIES[path].items() if name != field}
    assert problems(client, path, body) == {field: "is required"}


def test_all_that_is_wrong_is_told_at_once(client: FlaskClient) -> None:
    found = problems(client, "complete", {"userId": 1, "M": "z"})
    assert found == {
        "userId": "must be a string",
        "M": "must be 48 hexadecimal characters",
        "signatureHex": "is required",
    }


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("raw", [b"", b"[]", b"7", b"{", b'"a"', b"null", b"\xff"], ids=repr)
def test_f29_what_is_no_object_is_refused(client: FlaskClient, path: str, raw: bytes) -> None:
    response = client.post(f"/api/svd/{path}", data=raw, content_type="application/json")
    assert response.status_code == 400


@pytest.mark.parametrize("path", BODIES)
def test_unknown_fields_are_dropped_at_every_depth(client: FlaskClient, path: str) -> None:
    body = {**BODIES[path], "extra": {"deep": [{"er": 1}]}, "user_id": "x", "__proto__": {}}
    made = MODELS[path].model_validate(body)
    assert made.model_dump(by_alias=True) == BODIES[path]
    # Redis and the database are away: whoever gets as far as asking them has passed. A nonce that
    # is out of time does not.
    if "nonce" in body:
        body["nonce"] = svd.make_challenge(utc_now()).hex()
    assert client.post(f"/api/svd/{path}", json=body).status_code == 503


@pytest.mark.parametrize("path", BODIES)
def test_either_case_is_taken_and_kept(path: str) -> None:
    upper = {name: value.upper() for name, value in BODIES[path].items()}
    assert MODELS[path].model_validate(upper).model_dump(by_alias=True) == upper


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    path=st.sampled_from(sorted(BODIES)),
    body=st.dictionaries(
        st.sampled_from([*LENGTHS, "signatureHex", "newSignatureHex", "extra"]),
        st.text(st.characters(codec=None), max_size=70)
        | st.integers()
        | st.none()
        | st.lists(st.text(max_size=5), max_size=2),
        max_size=6,
    ),
)
def test_f29_any_body_is_answered(client: FlaskClient, path: str, body: Any) -> None:
    response = client.post(
        f"/api/svd/{path}", data=json.dumps(body), content_type="application/json"
    )
    assert response.status_code in (400, 503)
    assert response.json is not None
    assert response.json["code"] == response.json["error"]["code"]
