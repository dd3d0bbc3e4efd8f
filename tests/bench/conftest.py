"""The services on a database of their own, which logs as in production, into a file."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import redis

from app import extensions, logs
from devnet.supervisor import Devnet
from tests.integration.services.lab import Lab

# A pool of one output is enough: nothing asks for a split that is not measured.
SETTINGS = {"UTXO_MIN_POOL": "1"}


@pytest.fixture(autouse=True)
def log_path(tmp_path: Path) -> Iterator[Path]:
    """Where everything that this process logs goes: writing lines is part of the work."""
    path = tmp_path / "bench.log"
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with path.open("w") as file, redirect_stderr(file):
        logs.configure("info", service="bench", release="bench")
        yield path
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lab(devnet: Devnet, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The services in this process. Nothing stays on servers that outlive the run."""
    lab = Lab(devnet)
    lab.env = {**devnet.env, **SETTINGS, "DB_NAME": _database_name(request.node.name)}
    lab.configure()
    extensions.ensure_indexes()
    lab.begin()
    yield lab
    if os.environ.get("TEST_MONGODB_URI"):
        # The devnet's own server goes with its directory, and is slow at deleting.
        lab.configure()
        extensions.get().database.drop_database(lab.settings.db_name)
    lab.close()
    with redis.Redis.from_url(devnet.env["REDIS_URL"]) as connection:
        connection.flushdb()


def _database_name(test: str) -> str:
    return re.sub(r"\W+", "_", f"bench_{test}")[:60]
