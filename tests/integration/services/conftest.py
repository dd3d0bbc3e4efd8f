"""The services under test, in an empty world."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app import extensions
from devnet.supervisor import Devnet
from tests.integration.services.lab import Lab

_indexed: set[str] = set()


@pytest.fixture
def lab(clean_devnet: Devnet) -> Iterator[Lab]:
    """The services in this process, on an empty database and a chain without faults."""
    lab = Lab(clean_devnet)
    settings = lab.configure()
    if settings.mongodb_uri.get_secret_value() not in _indexed:
        extensions.ensure_indexes()
        _indexed.add(settings.mongodb_uri.get_secret_value())
    lab.begin()
    yield lab
    lab.clear_faults()
    lab.close()
