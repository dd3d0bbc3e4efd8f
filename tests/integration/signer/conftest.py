"""The signer as an operator runs it: real files, a real process, a real port."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

API_KEY = "integration-test-api-key"
PASSPHRASE = "integration test passphrase"
START_SECONDS = 20.0


@dataclass
class Answer:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Signer:
    """One keystore and, between start and stop, one serving process."""

    def __init__(self, directory: Path) -> None:
        self.port = _free_port()
        self.log_path = directory / "signer.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "PATH": os.environ["PATH"],
            "SIGNER_KEYSTORE": str(directory / "keystore.json"),
            "SIGNER_PASSPHRASE": PASSPHRASE,
            "SIGNER_PORT": str(self.port),
            "SIGNER_NETWORK": "main",
        }

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "signer", *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, **settings: str) -> None:
        environment = self.environment | {"KMS_API_KEY": API_KEY} | settings
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "signer", "serve"], env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_healthy():
            assert self.process.poll() is None, self.log_path.read_text()
            assert time.monotonic() < deadline, self.log_path.read_text()
            time.sleep(0.05)

    def _is_healthy(self) -> bool:
        try:
            return self.request("GET", "/health").status == 200
        except OSError:
            return False

    def stop(self) -> tuple[int, float]:
        """End it with SIGTERM; return the exit code and the seconds it took."""
        assert self.process is not None
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=10)
        self.process = None
        return code, time.monotonic() - begin

    def request(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            content = json.dumps(body) if body is not None else None
            connection.request(method, path, content, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode(), dict(answer.getheaders()))
        finally:
            connection.close()

    def send_chunks(self, path: str, chunks: list[bytes]) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"x-api-key": API_KEY}
            connection.request("POST", path, iter(chunks), headers, encode_chunked=True)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode(), dict(answer.getheaders()))
        finally:
            connection.close()

    def call(self, method: str, path: str, body: object = None) -> Answer:
        return self.request(method, path, body, {"Authorization": f"Bearer {API_KEY}"})

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one keystore with the commands; tests take copies of the file."""
    signer = Signer(tmp_path_factory.mktemp("prepared"))
    keys = [("issuer-1", "issuer", "11"), ("pool-1", "funding", "33"), ("login-1", "svd", "22")]
    assert signer.command("init").returncode == 0
    for name, purpose, byte in keys:
        arguments = ["add-key", name, "--purpose", purpose, "--import"]
        added = signer.command(*arguments, stdin=byte * 32 + "\n")
        assert added.returncode == 0, added.stderr
    return Path(signer.environment["SIGNER_KEYSTORE"])


def _copy(prepared: Path, directory: Path) -> Signer:
    shutil.copy(prepared, directory)
    return Signer(directory)


@pytest.fixture(scope="module")
def signer(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    """A running signer that tests share and leave running."""
    signer = _copy(prepared, tmp_path_factory.mktemp("signer"))
    signer.start()
    yield signer
    signer.stop()


@pytest.fixture
def make_signer(prepared: Path, tmp_path: Path) -> Iterator[Callable[[], Signer]]:
    """Prepare signers that are not started; whatever runs at the end is stopped."""
    made: list[Signer] = []

    def make() -> Signer:
        made.append(_copy(prepared, tmp_path))
        return made[-1]

    yield make
    for signer in made:
        if signer.process is not None:
            signer.stop()
