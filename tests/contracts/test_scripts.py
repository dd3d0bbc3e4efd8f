"""Every shell script: nothing that shellcheck finds, and help that helps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    [
        *ROOT.glob("deploy/*.sh"),
        *ROOT.glob("scripts/*.sh"),
        *ROOT.glob("nginx/*.sh"),
        ROOT / ".ci/run",
    ]
)
OPERATORS = ("deploy", "rollback", "manage")


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_shellcheck_finds_nothing() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = run([str(shellcheck), "--external-sources", *map(str, SCRIPTS)])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", OPERATORS)
def test_it_explains_itself_where_nothing_is_installed(name: str) -> None:
    script = ROOT / "deploy" / f"{name}.sh"
    assert os.access(script, os.X_OK)
    done = run([str(script), "--help"])
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("Usage:", "Examples:", "--signer"):
        assert word in done.stdout
    assert "exit code" in done.stdout.lower()
    assert max(map(len, done.stdout.splitlines())) <= 110


def test_every_exit_code_and_every_setting_of_the_scripts_is_explained() -> None:
    said = run([str(ROOT / "deploy" / "deploy.sh"), "--help"]).stdout
    library = (ROOT / "deploy" / "releases.sh").read_text()
    [line] = [line for line in library.splitlines() if line.startswith("readonly USAGE")]
    for word in line.split()[1:]:
        assert f"\n  {word.split('=')[1]} " in said, word
    for name in ("PREFIX", "SERVICE_CONTROL", "WORKERS", "WEB_UNIT", "BEAT_UNIT", "PUBLIC_URL"):
        assert f"  {name}=" in said


def test_o7_no_periodic_job_is_left_to_cron() -> None:
    """The clock has them all, in one place, with the application's own settings and clients."""
    paths = [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    texts = {path: path.read_text() for path in paths if "__pycache__" not in path.parts}
    assert len(texts) > 10
    assert not [path for path, text in texts.items() if re.search(r"(?i)\bcron", text)]
