"""The scripted server, the real signer and the real devnet chain, each on a port of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from app.clients.whatsonchain import WhatsOnChainClient
from devnet.supervisor import Devnet
from tests.integration.clients.scripted_server import ScriptedServer
from tests.integration.clients.wallet import Wallet

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 30.0
SIGNER_API_KEY = "integration-bearer-0123456789abcdef"


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    """Yield a server that answers what the test prepares."""
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def scripted_woc(
    scripted: ScriptedServer, sleep: Callable[[float], None]
) -> Iterator[WhatsOnChainClient]:
    """Yield a WhatsOnChain client of the scripted server that never really sleeps."""
    made = WhatsOnChainClient(
        scripted.url, timeout_seconds=5.0, page_limit=5, sleep=sleep, random_unit=lambda: 0.0
    )
    yield made
    made.close()


@pytest.fixture
def redis_client(clean_devnet: Devnet) -> Iterator[redis.Redis]:
    """Yield a client as the application makes it, with nothing of earlier tests in Redis."""
    client = make_redis_client(clean_devnet)
    yield client
    client.close()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Devnet]:
    """Yield a devnet of nothing but a Redis that the test may kill."""
    environ = {k: v for k, v in os.environ.items() if k not in ("APP_ENV", "REDIS_URL")}
    with Devnet(tmp_path / "devnet", environ=environ) as own:
        own.up(["redis"])
        yield own


def make_redis_client(running: Devnet) -> redis.Redis:
    """Return a client with the application's options."""
    return redis.Redis.from_url(
        running.env["REDIS_URL"],
        decode_responses=True,
        socket_timeout=5,
        socket_connect_timeout=5,
    )


@dataclass(frozen=True)
class RunningSigner:
    """A signer process and the public part of its keys by name."""

    url: str
    api_key: str
    keys: dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSigner]:
    """Yield a running signer with one key for each purpose."""
    folder = tmp_path_factory.mktemp("signer")
    port = _free_port()
    environment = {
        **os.environ,
        "SIGNER_KEYSTORE": str(folder / "keystore.json"),
        "SIGNER_PASSPHRASE": "a long enough passphrase",
        "SIGNER_NETWORK": "regtest",
        "SIGNER_PORT": str(port),
        "KMS_API_KEY": SIGNER_API_KEY,
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "signer", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        ).stdout

    run("init")
    for purpose in ("issuer", "funding", "svd"):
        run("add-key", f"{purpose}-1", "--purpose", purpose)
    keys = {key["keyIdentifier"]: key for key in json.loads(run("list", "--json"))}
    url = f"http://127.0.0.1:{port}"
    with _running(["signer", "serve"], environment, f"{url}/health", folder):
        yield RunningSigner(url, SIGNER_API_KEY, keys)


class ChainControl:
    """The devnet chain's wires and its control port."""

    def __init__(self, port: int) -> None:
        self.woc_url = f"http://127.0.0.1:{port}/v1/bsv/test"
        self.arc_url = f"http://127.0.0.1:{port}/arc"
        self._control_url = f"http://127.0.0.1:{port}/control"

    def get(self, path: str) -> Any:
        """Read one control page."""
        return self._json(requests.get(f"{self._control_url}/{path}", timeout=10))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send one control command."""
        return self._json(requests.post(f"{self._control_url}/{path}", json=body, timeout=60))

    def set_faults(self, *faults: dict[str, Any]) -> None:
        """Replace the faults in force."""
        self.clear_faults()
        self.post("faults", {"faults": list(faults)})

    def clear_faults(self) -> None:
        """End all faults."""
        self._json(requests.delete(f"{self._control_url}/faults", timeout=10))

    def mine(self, blocks: int = 1) -> Any:
        """Mine blocks."""
        return self.post("mine", {"blocks": blocks})

    def fund(self, address: str, satoshis: int, outputs: int = 1) -> Any:
        """Pay an address from the faucet."""
        body = {"address": address, "satoshis": satoshis, "outputs": outputs}
        return self.post("fund", body)

    @staticmethod
    def _json(response: requests.Response) -> Any:
        response.raise_for_status()
        return response.json() if response.content else None


@pytest.fixture(scope="session")
def chain_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainControl]:
    """Yield the control of a chain process of our own."""
    folder = tmp_path_factory.mktemp("chain")
    port = _free_port()
    command = ["devnet.chain", "--port", str(port), "--data-dir", str(folder / "data")]
    with _running(command, dict(os.environ), f"http://127.0.0.1:{port}/control/health", folder):
        yield ChainControl(port)


@pytest.fixture
def chain(chain_process: ChainControl) -> Iterator[ChainControl]:
    """Yield the chain without faults, and leave it without faults."""
    chain_process.clear_faults()
    yield chain_process
    chain_process.clear_faults()


@pytest.fixture
def wallet(chain: ChainControl) -> Wallet:
    """Return an empty wallet on the chain."""
    return Wallet(chain)


@pytest.fixture
def pauses() -> list[float]:
    """Collect the pauses that a client would have made."""
    return []


@pytest.fixture
def sleep(pauses: list[float]) -> Callable[[float], None]:
    """Return a sleep that only takes notes."""
    return pauses.append


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(
    module: list[str], environment: dict[str, str], health_url: str, folder: Path
) -> Iterator[None]:
    """Hold a `python -m` process that answers at a URL before the body of the with runs."""
    log_path = folder / "output.log"
    command = [sys.executable, "-m", *module]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _is_healthy(health_url):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command} did not start: {log_path.read_text()}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_healthy(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.ConnectionError:
        return False
