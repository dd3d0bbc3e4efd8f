"""How times and links are spelled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from flask import Flask
from flask_openapi3.openapi import OpenAPI

from app.api.answers import answer, certificate_url, iso_timestamp


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC), "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05.000Z"),
        (
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
            "2026-01-02T01:04:05.000Z",
        ),
    ],
)
def test_times_are_utc_with_milliseconds(moment: datetime, text: str) -> None:
    assert iso_timestamp(moment) == text


def test_s18_certificate_link_never_comes_from_the_host_header(app: OpenAPI) -> None:
    with app.test_request_context("/", headers={"Host": "169.254.169.254"}):
        url = certificate_url("ab" * 32, "cd" * 32)
    assert url == (
        "https://patches.example/certificates/certificate.html"
        f"?dataHash={'ab' * 32}&txid={'cd' * 32}"
    )


def test_members_keep_their_order_and_text(app: Flask) -> None:
    with app.app_context():
        response = answer({"b": "é", "a": 1}, 201)
    assert response.status_code == 201
    assert response.content_type == "application/json; charset=utf-8"
    assert list(response.json or {}) == ["b", "a"]
