"""The application in this process, in an empty world."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from app import extensions
from devnet.supervisor import Devnet
from tests.integration.api.caller import Caller
from tests.integration.services.lab import Lab


@pytest.fixture
def caller(clean_devnet: Devnet) -> Iterator[Caller]:
    """A client of the application in synchronous mode; `start` changes settings."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    caller = Caller(Lab(clean_devnet))
    caller.start(SPLIT_COOLDOWN_MS="0")
    extensions.ensure_indexes()
    caller.lab.begin()
    yield caller
    caller.lab.clear_faults()
    caller.lab.close()
    root.handlers[:] = handlers
    root.setLevel(level)
