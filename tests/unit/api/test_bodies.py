"""Bodies that are no JSON, too large or ambiguous end before validation."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder

from app.api.bodies import MAX_BODY_BYTES, MAX_LOGIN_BODY_BYTES, JsonRequest
from app.errors import PayloadTooLargeError

HEADERS = {"x-api-key": "the-api-key"}


def post(client: FlaskClient, raw: bytes, **options: Any) -> Any:
    options.setdefault("content_type", "application/json")
    return client.post("/v1/patches", data=raw, headers=HEADERS, **options)


def post_chunked(client: FlaskClient, raw: bytes) -> Any:
    """Sends without a length, as a server hands a chunked body over."""
    return client.post(
        "/v1/patches",
        input_stream=io.BytesIO(raw),
        headers={**HEADERS, "Transfer-Encoding": "chunked"},
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )


def padded(size: int) -> bytes:
    return b"{}" + b" " * (size - 2)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nonsense",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"product": {"x": 1, "x": 1}}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "line\nbreak"}',
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_f29_malformed_json_is_400(client: FlaskClient, raw: bytes) -> None:
    response = post(client, raw)
    assert response.status_code == 400
    assert response.json["code"] == "invalid_json"


@pytest.mark.parametrize("raw", [b"[]", b'"text"', b"7", b"null", b"true", b'[{"product": {}}]'])
def test_a_body_that_is_no_object_is_400(client: FlaskClient, raw: bytes) -> None:
    response = post(client, raw)
    assert response.status_code == 400
    assert response.json["message"] == "the body must be a JSON object"


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/xml"]
)
def test_another_content_type_is_400_and_named(
    client: FlaskClient, content_type: str | None
) -> None:
    response = post(client, b"{}", content_type=content_type)
    assert response.status_code == 400
    assert response.json["error"]["details"] == [
        {"field": "Content-Type", "message": "must be application/json"}
    ]


def test_content_type_may_name_its_charset(client: FlaskClient) -> None:
    response = post(client, b"{}", content_type="Application/JSON; charset=utf-8")
    assert response.json["error"]["details"][0]["field"] == "product"


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 2 * MAX_BODY_BYTES])
def test_f29_declared_size_over_the_limit_is_413(client: FlaskClient, size: int) -> None:
    response = post(client, padded(size))
    assert response.status_code == 413
    assert response.json["code"] == "payload_too_large"


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 2 * MAX_BODY_BYTES])
def test_s16_chunked_body_over_the_limit_is_413(client: FlaskClient, size: int) -> None:
    response = post_chunked(client, padded(size))
    assert response.status_code == 413
    assert response.json["code"] == "payload_too_large"


@pytest.mark.parametrize("send", [post, post_chunked], ids=["declared", "chunked"])
def test_a_body_of_exactly_the_limit_is_read(client: FlaskClient, send: Any) -> None:
    response = send(client, padded(MAX_BODY_BYTES))
    assert response.status_code == 400
    assert response.json["error"]["details"][0] == {"field": "product", "message": "is required"}


def test_the_key_is_asked_for_before_the_body_is_read(client: FlaskClient) -> None:
    response = client.post("/v1/patches", data=padded(2 * MAX_BODY_BYTES))
    assert response.status_code == 401


def test_a_challenge_needs_no_body(client: FlaskClient) -> None:
    # The database is away: only a request that reached the service answers so.
    response = client.post("/v1/patches/NFC_UID_001/unlock-challenge", headers=HEADERS)
    assert response.status_code == 503


def test_depth_within_the_parser_is_validated(client: FlaskClient) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    response = post(client, json.dumps({"product": deep}).encode())
    assert response.status_code == 400
    assert response.json["code"] == "invalid_request"


def read_as(path: str, raw: bytes, **headers: str) -> bytes:
    """Reads a body as a server hands it over, with its length or in chunks without one."""
    environ = EnvironBuilder(path=path, method="POST", input_stream=io.BytesIO(raw)).get_environ()
    environ.update(headers)
    return JsonRequest(environ).read_bounded()


CHUNKED: Any = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}


@pytest.mark.parametrize("path", ["/api/svd/begin", "/api/svd/nothing"])
@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "declared"])
@pytest.mark.parametrize("more", [1, 2, 100_000])
def test_s16_a_login_body_is_counted_in_bytes(path: str, is_chunked: bool, more: int) -> None:
    def read(size: int) -> bytes:
        headers: Any = CHUNKED if is_chunked else {"CONTENT_LENGTH": str(size)}
        return read_as(path, padded(size), **headers)

    assert len(read(MAX_LOGIN_BODY_BYTES)) == MAX_LOGIN_BODY_BYTES
    with pytest.raises(PayloadTooLargeError, match=r"payload too large.* 32768 bytes"):
        read(MAX_LOGIN_BODY_BYTES + more)


def test_other_paths_have_the_larger_limit() -> None:
    for path in ("/v1/patches", "/api/svdx", "/x/api/svd/begin"):
        assert len(read_as(path, padded(MAX_BODY_BYTES), **CHUNKED)) == MAX_BODY_BYTES
