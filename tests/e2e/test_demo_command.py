"""`python -m demo` as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devnet.supervisor.site import DIRECTORY_VARIABLE
from tests.conftest import outside_settings
from tests.e2e.system import System, processes_of

CHECKOUT = Path(__file__).resolve().parents[2]
COUNT = 6


def test_demo_uses_a_running_devnet_and_leaves_it_running(system: System) -> None:
    directory = Path(system.exports[DIRECTORY_VARIABLE])
    running = processes_of(directory).keys()
    done = subprocess.run(
        _command(directory, "--json", "--count", str(COUNT)),
        cwd=CHECKOUT,
        env=outside_settings(),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads((directory / "demo.json").read_text(encoding="utf-8"))
    kinds = [row["kind"] for row in report["records"]]
    assert (kinds.count("registration"), kinds.count("transfer")) == (COUNT, 2)
    assert {row["status"] for row in report["records"]} == {"authentic"}
    assert {row["txid"] for row in report["records"]} <= system.envelopes().keys()
    for refused in ("403 not_owner", "409 patch_already_registered"):
        assert refused in done.stderr
    assert running <= processes_of(directory).keys(), "a process was stopped or replaced"


@pytest.mark.slow
def test_interrupted_demo_stops_everything(tmp_path: Path) -> None:
    directory = tmp_path / "devnet"
    with subprocess.Popen(
        _command(directory),
        cwd=CHECKOUT,
        env=outside_settings() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line)
            if "signer answers" in line:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130, told
    assert "Interrupted" in told[-1]
    assert "Traceback" not in "".join(told)
    assert processes_of(directory) == {}


def _command(directory: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "demo", "--dir", str(directory), *words]
