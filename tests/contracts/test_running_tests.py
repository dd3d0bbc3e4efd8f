"""What runs the tests: one configuration, one command, the same for people and for CI."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# All that pytest would read.
INI_FILES = {"pytest.ini": "pytest", ".pytest.ini": "pytest", "tox.ini": "pytest"}
TOML_FILES = ("pytest.toml", ".pytest.toml", "pyproject.toml")


def has_pytest(path: Path) -> bool:
    """Whether pytest would take its settings from this file."""
    if path.suffix == ".toml":
        return path.name != "pyproject.toml" or "pytest" in tomllib.loads(path.read_text()).get(
            "tool", {}
        )
    section = INI_FILES.get(path.name, "tool:pytest")
    parser = ConfigParser(interpolation=None)
    parser.read(path)
    return parser.has_section(section)


def output_of(*command: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_f26_pytest_finds_one_configuration() -> None:
    folders = (ROOT, ROOT / "tests", ROOT / "clients", ROOT / "clients" / "python")
    names = (*INI_FILES, *TOML_FILES, "setup.cfg")
    found = [
        path
        for folder in folders
        for path in (folder / name for name in names)
        if path.is_file() and has_pytest(path)
    ]

    assert found == [ROOT / "setup.cfg"]


def test_f26_pytest_reads_it_and_can_run() -> None:
    one = "tests/unit/domain/test_backoff.py"
    told = output_of(
        sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", one
    )

    assert "configfile: setup.cfg" in told
    assert "tests collected" in told


def test_f26_people_and_ci_run_the_same_command() -> None:
    assert " -m pytest " in output_of("make", "--dry-run", "test") + " "
    assert "\nmake test" in (ROOT / ".ci" / "run").read_text()
