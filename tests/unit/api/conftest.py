"""An application whose outside parts are all away: what it answers, it answers by itself."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from flask.testing import FlaskClient
from flask_openapi3.openapi import OpenAPI

from app import create_app

ENVIRON = {
    "APP_ENV": "test",
    "API_KEY": "the-api-key",
    "JWT_SECRET": "a secret for tokens, of forty characters",
    "MASTER_SECRET": "vector-master-secret",
    "MONGODB_URI": "mongodb://127.0.0.1:1/?directConnection=true",
    "DB_SERVER_SELECTION_TIMEOUT_MS": "50",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "KMS_SIGN_URL": "http://127.0.0.1:1",
    "KMS_API_KEY": "the-kms-key",
    "ISSUER_KEY_IDENTIFIER": "issuer",
    "ISSUER_PUBLIC_KEYS": "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa",
    "UTXO_FUNDING_KEY_IDENTIFIER": "funding",
    "UTXO_FUNDING_ADDRESS": "n4XmX91N5FfccY678vaG1ELNtXh6skVES7",
    "WOC_NETWORK": "regtest",
    "WOC_BASE_URL": "http://127.0.0.1:1/v1/bsv/test",
    "PUBLIC_BASE_URL": "https://patches.example",
}
MakeApp = Callable[..., OpenAPI]
ReadLog = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def log_stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def make_app(log_stream: io.StringIO) -> Iterator[MakeApp]:
    """Makes applications from the environment above, with changes to it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def make(**changes: str) -> OpenAPI:
        made = create_app(environ={**ENVIRON, **changes})
        for handler in root.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setStream(log_stream)
        return made

    yield make
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def app(make_app: MakeApp) -> OpenAPI:
    return make_app()


@pytest.fixture
def client(app: OpenAPI) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def bearer() -> dict[str, str]:
    """The header of a token that is good without Redis: with no `jti` it has no logout."""
    claims = {"sub": "user", "exp": int(time.time()) + 900}
    token = jwt.encode(claims, ENVIRON["JWT_SECRET"], algorithm="HS256")
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def read_log(log_stream: io.StringIO) -> ReadLog:
    """Reads the lines that the application has logged so far."""

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in log_stream.getvalue().splitlines()]

    return read
