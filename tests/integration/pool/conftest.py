"""The pool's services on the session's devnet, each test with an address of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app import extensions
from devnet.supervisor import Devnet
from tests.integration.pool.signer_thread import SignerThread
from tests.integration.pool.world import World


@pytest.fixture(scope="session")
def signer_thread() -> Iterator[SignerThread]:
    signer = SignerThread()
    yield signer
    signer.close()


@pytest.fixture
def world(clean_devnet: Devnet, signer_thread: SignerThread) -> Iterator[World]:
    world = World(clean_devnet, signer_thread)
    extensions.ensure_indexes()
    yield world
    world.clear_faults()
    world.close()
