"""Whatever JSON arrives, the answer is a refusal with the shared body and never a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# An example needs no application of its own.
ONE_APP = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Every path that is well formed waits for a database that is away.
FEW_EXAMPLES = settings(ONE_APP, max_examples=40)
ADDRESS = "n4XmX91N5FfccY678vaG1ELNtXh6skVES7"
TEXT = st.text(st.characters(codec=None), max_size=40)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
KNOWN_NAMES = st.sampled_from(
    [
        "product",
        "metadata",
        "auth",
        "paymentAddress",
        "uid_tag_id",
        "name",
        "notes",
        "image",
        "owner",
        "newOwnerAddress",
        "currentOwnerSignature",
        "currentOwnerPubKey",
        "ownerPubKey",
        "ownerSignature",
        "nonce",
        "wrappedKeyB64",
        "wrapIvB64",
        "ciphertextB64",
        "cipherIvB64",
    ]
)
NEARLY_RIGHT = st.dictionaries(
    KNOWN_NAMES, st.dictionaries(KNOWN_NAMES, JSON, max_size=4) | JSON, max_size=6
)
ROUTES = st.sampled_from(
    [
        "/v1/patches",
        "/v1/patches/NFC_UID_001/unlock-content",
        f"/v1/patches/{'aa' * 32}/transfer-ownership",
    ]
)


@pytest.fixture(autouse=True)
def carry_token(client: FlaskClient, bearer: dict[str, str]) -> None:
    client.environ_base["HTTP_AUTHORIZATION"] = bearer["Authorization"]


def send(client: FlaskClient, path: str, raw: bytes) -> Any:
    headers = {"x-api-key": "the-api-key"}
    return client.post(path, data=raw, headers=headers, content_type="application/json")


def check(response: Any) -> None:
    # 503: the body passed, and the database, which is away in these tests, was asked.
    assert response.status_code in (400, 503), response.get_data(as_text=True)
    inner = response.json["error"]
    assert inner["status"] == response.status_code
    assert response.json["code"] == inner["code"]
    for detail in inner.get("details", []):
        assert set(detail) == {"field", "message"}


@ONE_APP
@given(path=ROUTES, body=JSON | NEARLY_RIGHT)
def test_f29_any_json_is_answered(client: FlaskClient, path: str, body: Any) -> None:
    check(send(client, path, json.dumps(body).encode()))


@ONE_APP
@given(path=ROUTES, raw=st.binary(max_size=200))
def test_f29_any_bytes_are_answered(client: FlaskClient, path: str, raw: bytes) -> None:
    check(send(client, path, raw))


@FEW_EXAMPLES
@given(
    segment=st.text(min_size=1, max_size=140),
    path=st.sampled_from(
        [
            "/v1/patches/verify/{}",
            "/v1/patches/{}/history",
            "/v1/patches/pending/registration/{}",
            "/v1/patches/pending/transfer/{}",
        ]
    ),
)
def test_f29_any_path_is_answered(client: FlaskClient, segment: str, path: str) -> None:
    response = client.get("/", environ_overrides={"PATH_INFO": _wsgi_path(path.format(segment))})
    assert response.status_code in (400, 404, 503)


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"%", b"\x80abc", b"\x00\x01\x02"])
def test_path_that_is_no_text_is_answered(client: FlaskClient, raw: bytes) -> None:
    path = "/v1/patches/verify/" + raw.decode("latin-1")
    response = client.get("/", environ_overrides={"PATH_INFO": path})
    assert response.status_code in (400, 404, 503)


def _wsgi_path(path: str) -> str:
    return path.encode("utf-8", "surrogatepass").decode("latin-1")
