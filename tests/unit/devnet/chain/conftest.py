"""A chain in the test's own process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devnet.chain.chainstate import Chain
from devnet.chain.faucet import Faucet, load_key
from devnet.chain.payments import locking_script_of
from devnet.chain.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "chain.sqlite3")
    yield store
    store.close()


@pytest.fixture
def faucet(store: Store, tmp_path: Path) -> Faucet:
    key = load_key(tmp_path / "faucet.wif")
    return Faucet(Chain(store, locking_script_of(key), 50), key)


@pytest.fixture
def chain(faucet: Faucet) -> Chain:
    return faucet._chain
