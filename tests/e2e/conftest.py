"""The whole system for tests that stand outside: started once, with money in its pool."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from celery import Celery
from pymongo import MongoClient

from demo.chain import ChainClient
from demo.operator import Operator
from devnet.supervisor import Devnet
from patchproof_client import Network, OwnerKey, PatchProofClient
from tests.conftest import outside_settings
from tests.e2e.system import System
from tests.e2e.watching import check_up

POOL_OUTPUTS = 40
START_SECONDS = 90.0
# The database is none that other tests empty.
OVERRIDES = {"DB_NAME": "patchproof_e2e"}


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Every process of production, a devnet around them, and outputs to pay with."""
    directory = tmp_path_factory.mktemp("e2e")
    with Devnet(directory, environ=outside_settings(), overrides=OVERRIDES) as net:
        net.up(timeout_seconds=START_SECONDS)
        exports = net.env
        with (
            MongoClient(exports["MONGODB_URI"]) as database,
            Celery(broker=exports["REDIS_URL"], set_as_current=False) as celery,
        ):
            client = PatchProofClient(exports["BASE_URL"], exports["API_KEY"])
            _log_in(client, exports)
            chain = ChainClient(exports["WOC_BASE_URL"], exports["CHAIN_CONTROL_URL"])
            _fill_pool(chain, exports)
            yield System(exports, client, chain, database, celery, net)
            client.close()
            chain.close()


@pytest.fixture(scope="session")
def calm(running: System) -> System:
    """The system with enough money, some work behind it and nothing wrong."""
    running.chain.fund(running.exports["UTXO_FUNDING_ADDRESS"], 2_000_000)
    running.chain.mine()
    Operator(running.exports).sync_pool()
    owner = running.make_owner()
    for submitted in [running.register(product, owner) for product in running.make_products(4)]:
        running.confirm(submitted)
    check_up(running)
    return running


@pytest.fixture
def system(running: System) -> Iterator[System]:
    """The system in fair weather."""
    running.control("DELETE", "faults")
    yield running
    running.control("DELETE", "faults")


def _log_in(client: PatchProofClient, exports: dict[str, str]) -> None:
    """Makes the client somebody, who stays logged in however long the run takes."""
    user_id = os.urandom(12).hex()
    key = OwnerKey.generate(Network(exports["WOC_NETWORK"]))
    client.register_login_key(user_id, key)
    client.login(user_id, key, renew=True)


def _fill_pool(chain: ChainClient, exports: dict[str, str]) -> None:
    chain.fund(exports["UTXO_FUNDING_ADDRESS"], POOL_OUTPUTS * 6000)
    chain.mine()
    operator = Operator(exports)
    assert operator.sync_pool()["added"] == 1
    assert operator.split_pool(POOL_OUTPUTS)["outcome"] == "done"
