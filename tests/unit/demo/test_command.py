"""The command explains itself and fails in a way that helps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from demo.__main__ import demo

CHECKOUT = Path(__file__).resolve().parents[3]


def run_in_production(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """No devnet starts where APP_ENV is production: a step that fails at once."""
    return subprocess.run(
        [sys.executable, "-m", "demo", "--dir", str(directory), *words],
        cwd=CHECKOUT,
        env=os.environ | {"APP_ENV": "production"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_teaches() -> None:
    told = CliRunner().invoke(demo, ["--help"])
    assert told.exit_code == 0
    for word in ("--keep", "--count", "--json", "Examples:", "Exit codes:", "devnet down"):
        assert word in told.output


def test_count_has_bounds() -> None:
    for count in ("0", "1001", "many"):
        assert CliRunner().invoke(demo, ["--count", count]).exit_code == 2


def test_failed_step_is_told_with_its_log(tmp_path: Path) -> None:
    done = run_in_production(tmp_path)
    assert done.returncode == 1
    assert "✗ Start the devnet" in done.stdout
    assert "refused while APP_ENV is production" in done.stdout
    assert f"Its log is {tmp_path}/logs/web.log" in done.stdout
    assert "Traceback" not in done.stderr


def test_failed_step_is_told_to_a_program(tmp_path: Path) -> None:
    done = run_in_production(tmp_path, "--json")
    assert done.returncode == 1
    failure = json.loads(done.stdout)
    assert (failure["status"], failure["step"]) == ("failed", "Start the devnet")
    assert failure["log"] == f"{tmp_path}/logs/web.log"
