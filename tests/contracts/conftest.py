"""The application and its document, without anything around them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from app import create_app

ENVIRON = {
    "APP_ENV": "test",
    "API_KEY": "the-api-key",
    "JWT_SECRET": "a secret for tokens, of forty characters",
    "MASTER_SECRET": "a master secret",
    "MONGODB_URI": "mongodb://127.0.0.1:1/",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "KMS_SIGN_URL": "http://127.0.0.1:1",
    "KMS_API_KEY": "the-kms-key",
    "ISSUER_KEY_IDENTIFIER": "issuer",
    "ISSUER_PUBLIC_KEYS": "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa",
    "UTXO_FUNDING_KEY_IDENTIFIER": "funding",
    "UTXO_FUNDING_ADDRESS": "n4XmX91N5FfccY678vaG1ELNtXh6skVES7",
    "WOC_NETWORK": "test",
}


@pytest.fixture(scope="module")
def app() -> Iterator[Flask]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield create_app(environ=ENVIRON)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="module")
def document(app: Flask) -> dict[str, Any]:
    response = app.test_client().get("/openapi.json")
    assert response.status_code == 200
    made: dict[str, Any] = response.json
    return made
