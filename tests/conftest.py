"""What tests of every folder share: one devnet for the session, emptied where a test asks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest
import redis
import requests
from pymongo import MongoClient

from devnet.supervisor import Devnet
from tests.secrecy import LogSearch

# The world around the application. The application itself runs inside the test, or is started
# by the tests that need its processes.
WORLD = ("database", "redis", "mail", "chain", "signer")


def pytest_configure(config: pytest.Config) -> None:
    """Search the logs at the end; let SIGTERM end the run as Ctrl-C does.

    So fixtures stop the processes that they have started. Where several processes run the tests,
    the one that they report to searches the logs of all.
    """
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(LogSearch())

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def outside_settings() -> dict[str, str]:
    """The environment without servers that a developer works with.

    TEST_MONGODB_URI and TEST_REDIS_URL name real servers to test on; their data is deleted.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"APP_ENV", "MONGODB_URI", "REDIS_URL"}
    }
    for name in ("MONGODB_URI", "REDIS_URL"):
        if value := os.environ.get(f"TEST_{name}"):
            kept[name] = value
    return kept


@pytest.fixture(scope="session")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """A running database, Redis, mail sink, chain and signer; `devnet.env` says where they are."""
    with Devnet(tmp_path_factory.mktemp("devnet"), environ=outside_settings()) as running:
        running.up(WORLD)
        yield running


@pytest.fixture
def clean_devnet(devnet: Devnet) -> Devnet:
    """The same with an empty database (its indexes stay) and Redis, no mail and fair weather."""
    env = devnet.env
    with MongoClient(env["MONGODB_URI"]) as client:
        database = client[env["DB_NAME"]]
        for name in database.list_collection_names():
            database[name].delete_many({})
    with redis.Redis.from_url(env["REDIS_URL"]) as connection:
        connection.flushdb()
    for mail in (devnet.directory / "mail").glob("*.eml"):
        mail.unlink()
    requests.delete(f"{env['CHAIN_CONTROL_URL']}/faults", timeout=5).raise_for_status()
    return devnet
