"""The services under test, in an empty world."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app import extensions
from devnet.supervisor import Devnet
from tests.integration.services.lab import Lab


@pytest.fixture
def lab(clean_devnet: Devnet) -> Iterator[Lab]:
    """The services in this process, on an empty database and a chain without faults."""
    lab = Lab(clean_devnet)
    lab.configure()
    extensions.ensure_indexes()
    lab.begin()
    yield lab
    lab.clear_faults()
    lab.close()
