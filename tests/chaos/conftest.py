"""The services of this process and the zygote of all others, on the session's devnet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import extensions
from devnet.supervisor import Devnet
from tests.chaos.processes import Zygote
from tests.chaos.steps import Theatre
from tests.chaos.workers import LEASES
from tests.integration.services.lab import PATIENCE, Lab

# A pool of one output is enough: nothing asks for a split that no test wants.
IN_A_ROW = 8
SETTINGS = {**PATIENCE, "UTXO_MIN_POOL": "1"}


@pytest.fixture(scope="session")
def zygote(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Forks workers of this devnet."""
    log_path = tmp_path_factory.mktemp("chaos") / "workers.log"
    with Zygote({**devnet.env, **SETTINGS}, log_path) as running:
        yield running


@pytest.fixture(scope="session")
def quick_zygote(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """The same with leases that run out by themselves soon."""
    log_path = tmp_path_factory.mktemp("chaos") / "quick.log"
    with Zygote({**devnet.env, **SETTINGS, **LEASES}, log_path) as running:
        yield running


@pytest.fixture
def lab(clean_devnet: Devnet) -> Iterator[Lab]:
    """The services in this process, on an empty database and a chain without faults."""
    lab = Lab(clean_devnet)
    lab.configure(**SETTINGS)
    extensions.ensure_indexes()
    lab.begin()
    yield lab
    lab.clear_faults()
    lab.close()


@pytest.fixture
def theatre(lab: Lab, zygote: Zygote, tmp_path: Path) -> Theatre:
    return Theatre(lab, zygote, tmp_path, in_a_row=IN_A_ROW)
