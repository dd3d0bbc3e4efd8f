"""Every failure has one body, the right status and nothing internal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pymongo.errors import ServerSelectionTimeoutError
from redis.exceptions import ConnectionError as RedisConnectionError

from app import errors
from app.api.authentication import ANYONE
from app.api.errors import status_of


def fail_with(app: Flask, error: Exception) -> Any:
    """What a route answers that raises this error."""

    def view() -> None:
        raise error

    view.authentication = ANYONE  # type: ignore[attr-defined]
    app.add_url_rule("/failure", view_func=view)
    return app.test_client().get("/failure", headers={"x-request-id": "req-1"})


def assert_body(response: Any, code: str) -> None:
    body = response.json
    inner = body["error"]
    assert body["code"] == inner["code"] == code
    assert body["message"] == inner["message"] != ""
    assert inner["status"] == response.status_code
    assert inner["name"].isalpha()
    assert inner["requestId"] == response.headers["X-Request-Id"]
    assert set(inner) <= {"name", "message", "code", "status", "requestId", "details"}
    assert response.content_type == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidInputError("no"), 400),
        (errors.UnauthorizedError("no"), 401),
        (errors.TokenExpiredError("no"), 401),
        (errors.NotOwnerError("no"), 403),
        (errors.OwnerSignatureError("no"), 403),
        (errors.ChallengeUsedError("no"), 403),
        (errors.NotFoundError("no"), 404),
        (errors.PatchAlreadyRegisteredError("no"), 409),
        (errors.PatchMovedError("no"), 409),
        (errors.PayloadTooLargeError("no"), 413),
        (errors.InconsistentStateError("no"), 500),
        (errors.PoolEmptyError("no"), 503),
        (errors.SignerUnavailableError("no"), 503),
    ],
    ids=lambda value: type(value).__name__,
)
def test_f29_errors_of_the_domain_have_their_status(
    app: Flask, error: errors.PatchProofError, status: int
) -> None:
    response = fail_with(app, error)
    assert response.status_code == status
    assert_body(response, error.code)
    assert response.json["message"] == "no"


def test_every_error_of_the_domain_has_a_status() -> None:
    for name in dir(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.PatchProofError):
            # Some take more than a message; the class alone decides.
            assert 400 <= status_of(kind.__new__(kind)) < 600


def test_f21_code_is_at_the_top_level_too(client: FlaskClient) -> None:
    response = client.post("/v1/patches")
    assert response.json is not None
    assert response.json["code"] == "unauthorized"
    assert_body(response, "unauthorized")


def test_details_name_fields(app: Flask) -> None:
    response = fail_with(app, errors.InvalidInputError.for_field("a.b", "is odd"))
    assert response.json["error"]["details"] == [{"field": "a.b", "message": "is odd"}]


def test_retry_after_is_told(app: Flask) -> None:
    response = fail_with(app, errors.PoolEmptyError("no coins", retry_after_seconds=30))
    assert response.headers["Retry-After"] == "30"


def test_no_retry_after_where_none_is_known(app: Flask) -> None:
    assert "Retry-After" not in fail_with(app, errors.PoolEmptyError("no coins")).headers


@pytest.mark.parametrize(
    "error", [ServerSelectionTimeoutError("db:27017"), RedisConnectionError("redis:6379")]
)
def test_f29_an_outage_is_503_and_not_500(app: Flask, error: Exception) -> None:
    response = fail_with(app, error)
    assert response.status_code == 503
    assert_body(response, "service_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert "2" not in response.json["message"]


def test_unknown_path_is_404(client: FlaskClient) -> None:
    response = client.get("/v1/nothing")
    assert response.status_code == 404
    assert_body(response, "not_found")


def test_wrong_method_is_405_with_allow(client: FlaskClient) -> None:
    response = client.delete("/v1/patches")
    assert response.status_code == 405
    assert_body(response, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


def test_verify_tells_not_found_and_error_in_status_too(app: Flask) -> None:
    # The database is away, so the patch can't be looked up.
    response = app.test_client().get("/v1/patches/verify/NFC_UID_001")
    assert response.status_code == 503
    assert response.json is not None
    assert response.json["status"] == "error"
    assert_body(response, "service_unavailable")


def test_verify_of_a_bad_uid_has_no_status_member(client: FlaskClient) -> None:
    response = client.get("/v1/patches/verify/ab")
    assert response.json is not None
    assert "status" not in response.json


@pytest.mark.parametrize("record_id", ["short", "1234567"])
def test_f29_short_pending_id_is_400(client: FlaskClient, record_id: str) -> None:
    for kind in ("registration", "transfer"):
        response = client.get(f"/v1/patches/pending/{kind}/{record_id}")
        assert response.status_code == 400
        assert_body(response, "invalid_request")


@pytest.mark.parametrize("record_id", ["notanobjectid", "z" * 24, "日本語日本語日本語", "a" * 25])
def test_f29_malformed_pending_id_is_404(client: FlaskClient, record_id: str) -> None:
    for kind in ("registration", "transfer"):
        response = client.get(f"/v1/patches/pending/{kind}/{record_id}")
        assert response.status_code == 404
        assert_body(response, "not_found")


def test_what_went_wrong_inside_stays_in_the_log(
    read_log: Callable[[], list[dict[str, Any]]], app: Flask
) -> None:
    response = fail_with(app, ZeroDivisionError("secret detail"))
    assert response.status_code == 500
    assert_body(response, "internal_error")
    assert "secret detail" not in response.get_data(as_text=True)
    (line,) = [line for line in read_log() if line["level"] == "ERROR"]
    assert "secret detail" in line["exc_info"]
    assert line["request_id"] == "req-1"
