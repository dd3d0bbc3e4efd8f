"""Request ids and the access log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from app import logs

ReadLog = Callable[[], list[dict[str, Any]]]


@pytest.mark.parametrize("given", ["a", "req-1", "A.b_c-9", "x" * 128])
def test_request_id_is_echoed(client: FlaskClient, given: str) -> None:
    response = client.get("/nothing", headers={"x-request-id": given})
    assert response.headers["X-Request-Id"] == given
    assert response.json is not None
    assert response.json["error"]["requestId"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a;b", "<script>", "é", "a\tb"])
def test_request_id_that_can_not_be_trusted_is_replaced(client: FlaskClient, given: str) -> None:
    response = client.get("/nothing", headers={"x-request-id": given})
    assert UUID(response.headers["X-Request-Id"])


def test_every_request_has_its_own_id(client: FlaskClient) -> None:
    ids = {client.get("/nothing").headers["X-Request-Id"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize("path", ["/health", "/ready", "/__ping"])
def test_probes_have_no_request_id(client: FlaskClient, path: str) -> None:
    assert "X-Request-Id" not in client.get(path, headers={"x-request-id": "req-1"}).headers


def test_the_id_does_not_outlive_its_request(client: FlaskClient) -> None:
    client.get("/nothing")
    assert logs.request_id.get() is None


def test_a_request_is_one_line(client: FlaskClient, read_log: ReadLog) -> None:
    client.get("/v1/patches/verify/ab", headers={"x-request-id": "req-1"})
    (line,) = [line for line in read_log() if line.get("event") == "http.request"]
    assert line["method"] == "GET"
    assert line["route"] == "/v1/patches/verify/<uid:uid_tag_id>"
    assert line["status"] == 400
    assert line["milliseconds"] >= 0
    assert line["request_id"] == "req-1"


def test_p6_query_body_and_credentials_are_not_logged(
    client: FlaskClient, read_log: ReadLog
) -> None:
    client.post(
        "/v1/patches?secret-query=1",
        json={"product": {"uid_tag_id": "ab", "secret-field": "secret-value"}},
        headers={"x-api-key": "the-api-key", "Authorization": "Bearer secret-bearer"},
    )
    text = str(read_log())
    for secret in ("secret-query", "secret-field", "secret-value", "the-api-key", "secret-bearer"):
        assert secret not in text


def test_probes_are_logged_only_when_debugging(make_app: Any, read_log: ReadLog) -> None:
    make_app().test_client().get("/health")
    assert read_log() == []
    make_app(LOG_LEVEL="debug").test_client().get("/health")
    assert [line["route"] for line in read_log() if line.get("event") == "http.request"] == [
        "/health"
    ]
