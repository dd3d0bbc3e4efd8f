"""The services under test, in an empty world."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devnet.supervisor import Devnet
from tests.integration.services.lab import Lab, open_lab


@pytest.fixture
def lab(clean_devnet: Devnet) -> Iterator[Lab]:
    """The services in this process, on an empty database and a chain without faults."""
    with open_lab(clean_devnet) as opened:
        yield opened
