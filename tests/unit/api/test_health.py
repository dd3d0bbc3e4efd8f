"""Probes tell the truth."""

from __future__ import annotations

from flask.testing import FlaskClient


def test_ping_is_text(client: FlaskClient) -> None:
    response = client.get("/__ping")
    assert response.status_code == 200
    assert response.mimetype == "text/plain"
    assert response.get_data() == b"pong"


def test_health_asks_nobody(client: FlaskClient) -> None:
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json == {"status": "ok"}


def test_o2_ready_is_503_while_parts_are_away(client: FlaskClient) -> None:
    response = client.get("/ready")
    assert response.status_code == 503
    assert response.json is not None
    assert response.json["ready"] is False
    assert {"database", "redis"} <= set(response.json["parts"])
    assert "127.0.0.1" not in response.get_data(as_text=True)
