"""`manage.py privacy`: an export and an erasure for somebody who asks by letter."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from app.bitcoin.keys import PrivateKey
from app.models.svd_key import SvdKey
from app.services import login_keys
from tests.integration.commands.conftest import Manage

USER = "5a" * 12


@pytest.fixture
def key(manage: Manage) -> str:
    """The key that the user has registered."""
    made = PrivateKey.generate().public_key.to_hex()
    login_keys.register(USER, made, None)
    return made


def test_an_export_is_printed_or_written_for_its_owner_alone(
    manage: Manage, key: str, tmp_path: Path
) -> None:
    printed = manage("privacy", "export", "--user", USER)
    assert printed.code == 0
    assert printed.json["loginKey"]["publicKey"] == key

    path = tmp_path / "ann.jsonl"
    written = manage("privacy", "export", "--user", USER, "--output", str(path))
    assert (written.code, written.stdout) == (0, f"written to {path}\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["subject"] == USER
    again = manage("privacy", "export", "--user", USER, "--output", str(path))
    assert again.code == 5
    assert "File exists" in again.stderr


def test_a_revoked_key_keeps_nobody_from_an_export(manage: Manage, key: str) -> None:
    login_keys.revoke(USER, "operator alice")

    assert manage("privacy", "export", "--user", USER).code == 0


def test_a_dry_run_changes_nothing(manage: Manage, key: str) -> None:
    shown = manage("privacy", "delete", "--user", USER, "--dry-run", "--json")
    assert shown.code == 0
    [proven] = shown.json["keys"]
    assert (proven["key"], proven["proven_by"]) == (key, "login")
    assert "1 proven keys" in manage("privacy", "delete", "--user", USER, "--dry-run").stdout
    assert SvdKey.find(USER) is not None


def test_somebody_is_erased_and_their_id_is_freed_for_them_alone(manage: Manage, key: str) -> None:
    done = manage("privacy", "delete", "--user", USER, "--by", "alice", "--json")
    assert done.code == 0
    assert done.json["status"] == "done"
    assert [(each["what"], each["count"]) for each in done.json["erased"]] == [("login_key", 1)]
    assert SvdKey.find(USER) is None
    table = manage("privacy", "delete", "--user", USER).stdout
    assert "What remains" in table

    assert manage("privacy", "free", USER).code == 0
    assert manage("privacy", "free", USER).code == 5
    login_keys.register(USER, PrivateKey.generate().public_key.to_hex(), None)


@pytest.mark.parametrize(
    "words",
    [
        ("export", "--user", " "),
        ("export", "--user", "a\x00b"),
        ("delete", "--user", "x" * 255),
        ("free", "nobody"),
    ],
)
def test_a_name_that_can_be_nobodys_is_refused(manage: Manage, words: tuple[str, ...]) -> None:
    assert manage("privacy", *words).code == 2


def test_whoever_erases_says_who_they_are(manage: Manage, key: str) -> None:
    assert manage("privacy", "delete", "--user", USER, "--by", " ").code == 5
    assert SvdKey.find(USER) is not None
