"""A timer runs a command with nothing but its settings: it opens what it needs, works and ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.models.record import AuthenticationRecord
from tests.integration.commands.conftest import ROOT, TIMEOUT_SECONDS
from tests.integration.pool.world import World

DONE, NOTHING_TO_DO = 0, 2
COMMANDS: dict[str, int] = {
    "utxo sync": DONE,
    "utxo split --dry-run": DONE,
    "utxo maintain": DONE,
    "utxo reap": NOTHING_TO_DO,
    "utxo health": DONE,
    "jobs replay --all --sweep": DONE,
    "jobs list-stuck": NOTHING_TO_DO,
    "fees refresh": DONE,
    "db indexes": DONE,
    "doctor invariants": DONE,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_f18_o6_a_command_needs_its_settings_only_and_ends(
    world: World, tmp_path: Path, command: str
) -> None:
    world.fill(1, 100_000)
    if "replay" in command:
        world.register()

    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *command.split()],
        cwd=tmp_path,
        env={**world.environ, "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS * 2,
        check=False,
    )

    assert done.returncode == COMMANDS[command], done.stderr
    assert "Traceback" not in done.stderr
    if "replay" in command:
        assert AuthenticationRecord.objects.get().status == "confirmed"
