"""`manage.py` as an operator types it, on the session's devnet."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app import extensions
from devnet.supervisor import Devnet
from manage import cli
from tests.integration.pool.signer_thread import SignerThread
from tests.integration.pool.world import World

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Manage:
    """Runs commands in this process, or `manage.py` in one of its own where that is the point."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, *words: str) -> Ended:
        """Runs a command as `manage.py` does, and makes the services anew for the test."""
        begun = time.monotonic()
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        try:
            result = CliRunner().invoke(
                cli, list(words), env={**self.world.environ, "COLUMNS": "100"}
            )
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            self.world.reopen()
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr, time.monotonic() - begun)

    def process(self, *words: str) -> Ended:
        """Runs `manage.py` until its process has ended."""
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.world.environ | {"PATH": "/usr/bin:/bin", "COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)


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


@pytest.fixture
def manage(world: World) -> Manage:
    return Manage(world)
