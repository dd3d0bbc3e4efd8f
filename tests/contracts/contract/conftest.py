"""One service for the tests of a section, with an empty database and coins to pay with."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from pymongo import MongoClient

from app import extensions
from devnet.supervisor import Devnet
from tests.contracts.contract.wire import Wire
from tests.integration.services.lab import Lab

COINS = 40


@pytest.fixture(scope="module")
def _service(devnet: Devnet) -> Iterator[Wire]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with MongoClient(devnet.env["MONGODB_URI"]) as client:
        database = client[devnet.env["DB_NAME"]]
        for name in database.list_collection_names():
            database[name].delete_many({})
    wire = Wire(Lab(devnet))
    wire.start()
    if extensions.missing_indexes():
        extensions.ensure_indexes()
    wire.forget_limits()
    wire.lab.begin()
    wire.lab.fill_pool(COINS)
    yield wire
    wire.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def wire(_service: Wire, request: pytest.FixtureRequest) -> Iterator[Wire]:
    """The service; a test that has started it with other settings leaves it with the usual ones."""
    before = _service.app
    yield _service
    if _service.app is not before:
        _service.start()
