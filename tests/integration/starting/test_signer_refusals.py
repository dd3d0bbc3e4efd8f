"""The signer does not start without what it needs, and says what is missing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devnet.supervisor.site import CHECKOUT
from tests.integration.starting.processes import Case, Environ, end_all, list_problems, signer

PASSPHRASE = "a passphrase of the tests"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Environ:
    """Every setting of a signer with one key; it can be used."""
    made = {
        "PATH": os.environ["PATH"],
        "SIGNER_KEYSTORE": str(tmp_path_factory.mktemp("signer") / "keystore"),
        "SIGNER_PASSPHRASE": PASSPHRASE,
        "SIGNER_NETWORK": "test",
        "SIGNER_PORT": "0",
        "KMS_API_KEY": "k" * 32,
    }
    for words in (["init"], ["add-key", "issuer-1", "--purpose", "issuer"]):
        command = [sys.executable, "-m", "signer", *words]
        subprocess.run(command, cwd=CHECKOUT, env=made, check=True, capture_output=True)
    return made


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_o3_each_setting_that_is_missing_wrong_or_silent_is_named(
    environ: Environ, taken_port: int, tmp_path: Path
) -> None:
    pipe, open_to_all = tmp_path / "pipe", tmp_path / "open"
    os.mkfifo(pipe, 0o600)
    shutil.copy(environ["SIGNER_KEYSTORE"], open_to_all)
    open_to_all.chmod(0o644)
    cases = [
        Case({"SIGNER_KEYSTORE": None}, "Error: Set SIGNER_KEYSTORE"),
        Case({"SIGNER_KEYSTORE": str(tmp_path / "none")}, "none"),
        Case({"SIGNER_KEYSTORE": str(open_to_all)}, "run chmod 600"),
        Case({"SIGNER_KEYSTORE": str(pipe)}, "is no file: SIGNER_KEYSTORE names the keystore"),
        Case({"SIGNER_PASSPHRASE": None}, "Error: Set SIGNER_PASSPHRASE"),
        Case({"SIGNER_PASSPHRASE": "another"}, "Error: The passphrase is wrong"),
        Case(
            {"SIGNER_PASSPHRASE": None, "SIGNER_PASSPHRASE_FILE": str(pipe)},
            "SIGNER_PASSPHRASE_FILE cannot be read: it is no file",
        ),
        Case({"SIGNER_NETWORK": "moon"}, "SIGNER_NETWORK must be main, test or regtest"),
        Case({"KMS_API_KEY": None}, "Error: Set KMS_API_KEY"),
        Case({"SIGNER_PORT": "many"}, "SIGNER_PORT must be a number"),
        Case({"SIGNER_PORT": str(taken_port)}, "Cannot listen on 127.0.0.1"),
    ]

    ended = end_all(signer, environ, cases, tmp_path)

    assert list_problems(ended) == []
    assert [each for each in ended if PASSPHRASE in each.output] == []
