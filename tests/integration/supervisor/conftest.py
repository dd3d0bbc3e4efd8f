"""A devnet of its own for each test that starts and stops parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from devnet.supervisor import Devnet


@pytest.fixture
def environ() -> dict[str, str]:
    """The environment without any setting of a devnet or of the application."""
    ours = ("PATCHPROOF_", "APP_ENV", "MONGODB_URI", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture
def own_devnet(tmp_path: Path, environ: dict[str, str]) -> Iterator[Devnet]:
    with Devnet(tmp_path / "devnet", environ=environ) as devnet:
        yield devnet


@pytest.fixture
def list_processes() -> Callable[[Devnet], list[int]]:
    """Lists what runs in the sessions of a devnet's parts, the parts' own children too."""

    def list_them(devnet: Devnet) -> list[int]:
        sessions = {row.pid for row in devnet.status() if row.pid is not None}
        return [
            process.pid
            for process in psutil.process_iter()
            if process.status() != psutil.STATUS_ZOMBIE and _session(process.pid) in sessions
        ]

    return list_them


@pytest.fixture
def list_survivors() -> Callable[[list[int]], list[int]]:
    """Which of the processes still run; a zombie only waits for its parent."""

    def list_them(pids: list[int]) -> list[int]:
        return [pid for pid in pids if _is_running(pid)]

    return list_them


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
