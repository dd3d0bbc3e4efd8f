"""The application in this process, in an empty world."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from app import extensions
from devnet.supervisor import Devnet
from tests.integration.api.caller import Caller
from tests.integration.services.lab import Lab

_indexed: set[str] = set()


@pytest.fixture
def caller(clean_devnet: Devnet) -> Iterator[Caller]:
    """A client of the application in synchronous mode; `start` changes settings."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    caller = Caller(Lab(clean_devnet))
    caller.start()
    uri = caller.lab.env["MONGODB_URI"]
    if uri not in _indexed:
        extensions.ensure_indexes()
        _indexed.add(uri)
    caller.lab.begin()
    yield caller
    caller.lab.clear_faults()
    caller.lab.close()
    root.handlers[:] = handlers
    root.setLevel(level)
