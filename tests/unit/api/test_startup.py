"""A process that can't work says so and ends; one that can waits for nobody."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
NOTHING = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=NOTHING,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_o3_bad_settings_end_the_process_with_one_sentence() -> None:
    done = run("-c", "import wsgi")
    assert done.returncode == 1
    assert done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("patchproof: bad settings: ")
    for name in ("KMS_API_KEY", "JWT_SECRET", "MASTER_SECRET", "MONGODB_URI", "REDIS_URL"):
        assert f"{name} is missing" in sentence


def test_o3_bad_settings_end_gunicorn() -> None:
    done = run("-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "1", "wsgi:app")
    assert done.returncode > 0
    assert "patchproof: bad settings: " in done.stderr


def test_o4_starting_opens_no_connection(make_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    client = make_app().test_client()
    assert client.get("/health").status_code == 200


def test_settings_that_nothing_reads_are_named(
    make_app: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    make_app(NODE_ENV="production", ADMIN_API_KEY="x")
    log = capsys.readouterr().err
    assert '"NODE_ENV"' in log
    assert '"ADMIN_API_KEY"' in log
