"""Processes as an operator starts them, on a production environment."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from app import extensions
from app.bitcoin.keys import PublicKey
from app.config import load_settings
from app.services import migrating
from devnet.supervisor import Devnet
from tests.integration.starting.processes import Environ

USER, PASSWORD = "patchproof-start", "a-word-of-the-database"


@pytest.fixture(scope="session")
def database_user(devnet: Devnet) -> Iterator[str]:
    """Name and password of somebody who may write."""
    with MongoClient[dict[str, Any]](devnet.env["MONGODB_URI"]) as client:
        client.admin.command({"createUser": USER, "pwd": PASSWORD, "roles": ["root"]})
        yield f"{USER}:{PASSWORD}"
        client.admin.command({"dropUser": USER})


@pytest.fixture
def production(devnet: Devnet, database_user: str) -> Environ:
    """Every setting that production needs, on the devnet's services; they can be used."""
    env = devnet.env
    extensions.init(load_settings(env))
    migrating.migrate()
    return {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        **env,
        "APP_ENV": "production",
        # Regtest is the devnet's alone; its addresses are those of the test network.
        "WOC_NETWORK": "test",
        "MONGODB_URI": env["MONGODB_URI"].replace("://", f"://{database_user}@"),
    }


@pytest.fixture(scope="session")
def funding_key(devnet: Devnet) -> PublicKey:
    """The public key that the signer of the devnet pays with."""
    extensions.init(load_settings(devnet.env))
    found = extensions.get().kms.get_public_key(devnet.env["UTXO_FUNDING_KEY_IDENTIFIER"])
    assert found is not None
    return found


@pytest.fixture
def hole() -> Iterator[int]:
    """A port that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
