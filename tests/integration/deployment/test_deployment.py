"""A new machine, from nothing to a patch that is registered through nginx; then up, and back again.

The scripts of deploy/ install this checkout under a prefix and a user of their own, what the units
say is started as they say it, and nginx stands in front with a certificate. A client that registers
five patches a second notices nothing of an upgrade and a rollback.
"""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pymongo import MongoClient

from demo.catalogue import choose_products
from demo.chain import ChainClient
from devnet.supervisor import Devnet
from devnet.supervisor.site import CHECKOUT
from patchproof_client import Network, OwnerKey
from tests.conftest import WORLD, outside_settings
from tests.integration.deployment.conftest import wait_for
from tests.integration.deployment.fronts import Front, front
from tests.integration.deployment.machine import (
    LEFT_OUT,
    Machine,
    Units,
    controlled,
    made_machine,
)

EVERY_SECONDS = 0.2
POOL_OUTPUTS = 100
# More than are registered in ten minutes.
PRODUCTS = 4000
# As many as one address may have open at nginx, so that a slow answer delays no other call.
CALLERS = 90


@dataclass(frozen=True)
class Answer:
    """What became of one registration."""

    status: int
    seconds: float
    uid: str


class Place:
    """A host with everything on it, seen by its operator and by its clients."""

    def __init__(
        self, machine: Machine, devnet: Devnet, door: Front, environment: dict[str, str]
    ) -> None:
        self.machine = machine
        self.settings = devnet.env
        self._door = door
        self._environment = environment
        self._owner = OwnerKey.generate(Network(self.settings["WOC_NETWORK"]))
        self._products = iter(choose_products(PRODUCTS))
        self.source = machine.root / "source"

    def deploy(self, *words: str) -> float:
        """Runs deploy.sh of the source; answers how long it took."""
        began = time.monotonic()
        done = self.try_to_deploy(*words)
        assert done.returncode == 0, done.stderr
        return time.monotonic() - began

    def try_to_deploy(self, *words: str) -> Any:
        script = self.source / "deploy" / "deploy.sh"
        words = (*words, "--directory", str(self.source))
        return self.machine.run(script, *words, **self._environment)

    def roll_back(self) -> float:
        """Runs rollback.sh of the release that serves; answers how long it took."""
        script = self.machine.prefix / "current" / "deploy" / "rollback.sh"
        began = time.monotonic()
        done = self.machine.run(script, **self._environment)
        assert done.returncode == 0, done.stderr
        return time.monotonic() - began

    def manage(self, *words: str) -> None:
        script = self.source / "deploy" / "manage.sh"
        done = self.machine.run(script, *words, **self._environment)
        assert done.returncode == 0, done.stderr

    def register(self) -> Answer:
        """Registers the next product through the public door."""
        product = next(self._products)
        body = {
            "product": product.product,
            "metadata": product.metadata,
            "auth": {"owner": self._owner.address},
        }
        began = time.monotonic()
        response = self._door.send(
            "POST", "/v1/patches", json=body, headers={"x-api-key": self.settings["API_KEY"]}
        )
        return Answer(response.status_code, time.monotonic() - began, product.uid_tag_id)

    def verify(self, uid: str) -> dict[str, Any]:
        """What anybody is told of a patch."""
        answer: dict[str, Any] = self._door.get(f"/v1/patches/verify/{uid}").json()
        return answer

    def records(self) -> list[dict[str, Any]]:
        with MongoClient[dict[str, Any]](self.settings["MONGODB_URI"]) as client:
            return list(client[self.settings["DB_NAME"]]["authentication_records"].find())

    @contextmanager
    def registering(self) -> Iterator[list[Future[Answer]]]:
        """A client that registers five patches a second, whether it has its answers or not."""
        end, answers = Event(), list[Future[Answer]]()
        with ThreadPoolExecutor(CALLERS) as callers, ThreadPoolExecutor(1) as clock:

            def keep_on() -> None:
                while not end.wait(EVERY_SECONDS):
                    answers.append(callers.submit(self.register))

            running = clock.submit(keep_on)
            try:
                yield answers
            finally:
                end.set()
                running.result()


def write_settings(machine: Machine, exports: Mapping[str, str], door: Front) -> None:
    """The devnet's exports, but for what a host behind nginx has, and what would only cost time."""
    mine = {"PUBLIC_BASE_URL": door.base_url, "TRUSTED_PROXIES": "1", "UTXO_MIN_POOL": "50"}
    cheap = {"WEB_WORKERS": "1", "TRACK_INTERVAL_SECONDS": "10"}
    machine.write_settings({**exports, **mine, **cheap})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The machine, what is around it, and its proxy; nothing is installed yet."""
    with ExitStack() as stack:
        devnet = stack.enter_context(Devnet(tmp_path / "devnet", environ=outside_settings()))
        devnet.up(WORLD)
        machine = stack.enter_context(made_machine())
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2048))
        port = listener.getsockname()[1]
        (tmp_path / "nginx").mkdir()
        door = stack.enter_context(front(tmp_path / "nginx", port))
        write_settings(machine, devnet.env, door)
        control = stack.enter_context(controlled(Units(machine, listener)))
        shutil.copytree(CHECKOUT, machine.root / "source", ignore=LEFT_OUT)
        environment = {
            "SERVICE_CONTROL": str(control),
            # Each process more costs every restart three seconds of a core.
            "WORKERS": "anchoring maintenance",
            "PUBLIC_CA": str(door.certificate),
            "GATE_SECONDS": "120",
            "CHECK_SECONDS": "120",
        }
        yield Place(machine, devnet, door, environment)


def fund(place: Place) -> None:
    """Money comes to the funding address, and is cut into outputs."""
    chain = ChainClient(place.settings["WOC_BASE_URL"], place.settings["CHAIN_CONTROL_URL"])
    chain.fund(place.settings["UTXO_FUNDING_ADDRESS"], POOL_OUTPUTS * 6000)
    chain.mine()
    chain.close()
    place.manage("utxo", "sync")
    place.manage("utxo", "split", "--target", str(POOL_OUTPUTS))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_new_machine_serves_and_nobody_notices_an_upgrade_or_a_rollback(place: Place) -> None:
    place.deploy("--prepare")
    fund(place)
    install = place.deploy()
    first = place.machine.current
    patch = place.register()
    assert patch.status == 202
    wait_for(lambda: place.verify(patch.uid).get("status") == "authentic")

    (place.source / "README.md").write_text("A second release.")
    with place.registering() as answers:
        wait_for(lambda: len(answers) > 5)
        with ThreadPoolExecutor(1) as operator:
            upgrade = operator.submit(place.deploy)
            wait_for(lambda: len(place.machine.releases) > 1)
            assert place.try_to_deploy().returncode == 75
            up = upgrade.result(300)
        second = place.machine.current
        back = place.roll_back()
        so_far = len(answers)
        wait_for(lambda: len(answers) > so_far + 5)

    assert second != first == place.machine.current
    results = [answer.result(120) for answer in answers]
    assert Counter(result.status for result in results) == {202: len(results)}
    check_each_is_confirmed_once(place, [patch, *results])
    slowest = max(result.seconds for result in results)
    sys.stderr.write(
        f"\ninstalled in {install:.0f} s, upgraded in {up:.0f} s, rolled back in {back:.0f} s; "
        f"{len(results)} registrations meanwhile, the slowest took {slowest:.1f} s\n"
    )


def check_each_is_confirmed_once(place: Place, answers: list[Answer]) -> None:
    """Fails unless every patch has one record, and every record a transaction of its own."""
    wait_for(
        lambda: all(record["status"] == "confirmed" for record in place.records()), seconds=120
    )
    records = place.records()
    assert Counter(record["uid_tag_id"] for record in records) == Counter(
        answer.uid for answer in answers
    )
    assert len({record["head"] for record in records}) == len(records)
    place.manage("doctor", "invariants")
