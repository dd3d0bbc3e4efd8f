"""What admin routes refuse by themselves, and that they always answer."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

KEY = {"x-api-key": "the-api-key"}
READING = ("/v1/admin/utxo-health", "/v1/admin/invariants")
MAINTAINING = ("/v1/admin/utxo-maintain", "/v1/admin/utxo-maintenance")


def test_f6_the_key_is_asked_for(client: FlaskClient) -> None:
    answers = [client.get(path) for path in READING]
    answers += [client.post(path, json={}) for path in MAINTAINING]
    for response in answers:
        assert response.status_code == 401
        assert response.json is not None
        assert response.json["success"] is False
        assert response.json["code"] == "unauthorized"


@pytest.mark.parametrize(
    "body",
    [{"action": "all"}, {"action": None}, {"action": 1}, {"action": "sync", "dryRun": True}],
)
@pytest.mark.parametrize("path", MAINTAINING)
def test_bodies_are_strict(client: FlaskClient, path: str, body: dict[str, Any]) -> None:
    response = client.post(path, json=body, headers=KEY)

    assert response.status_code == 400
    assert response.json is not None
    assert response.json["error"]["details"]


@pytest.mark.parametrize("path", READING)
def test_f6_reading_answers_with_every_part_away(client: FlaskClient, path: str) -> None:
    response = client.get(path, headers=KEY)

    assert response.status_code == 503
    assert response.json is not None
    assert response.json["success"] is False


@pytest.mark.parametrize("action", ["auto", "sync", "sweep", "split"])
def test_f6_maintaining_answers_with_every_part_away(client: FlaskClient, action: str) -> None:
    response = client.post(MAINTAINING[0], json={"action": action}, headers=KEY)

    assert response.status_code == 503
    assert response.json is not None
    assert response.json["success"] is False
    assert "127.0.0.1" not in response.get_data(as_text=True)
