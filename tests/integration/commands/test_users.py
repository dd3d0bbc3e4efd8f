"""`manage.py users`: an operator helps who lost a key or had it stolen."""

from __future__ import annotations

import pytest

from app.bitcoin.keys import PrivateKey
from app.models.svd_key import SvdKey
from app.services import login_keys
from tests.integration.commands.conftest import Manage

USER = "5a" * 12


def new_key() -> str:
    return PrivateKey.generate().public_key.to_hex()


@pytest.fixture
def key(manage: Manage) -> str:
    """The key that the user has registered."""
    made = new_key()
    login_keys.register(USER, made, None)
    return made


def test_a_key_is_shown(manage: Manage, key: str) -> None:
    done = manage("users", "show-key", USER.upper(), "--json")
    assert done.code == 0
    shown = done.json
    assert shown.pop("registered_at").endswith("+00:00")
    assert shown == {
        "user_id": USER,
        "public_key_hex": key,
        "revoked_at": None,
        "revoked_by": None,
        "history": [],
    }
    table = manage("users", "show-key", USER)
    assert USER in table.stdout
    assert "Replaced" not in table.stdout


def test_a_key_is_revoked_once(manage: Manage, key: str) -> None:
    done = manage("users", "revoke-key", USER, "--by", "alice", "--json")
    assert done.code == 0
    assert done.json["revoked_by"] == "operator alice"
    again = manage("users", "revoke-key", USER, "--by", "bob", "--json")
    assert again.code == 2
    assert again.json == done.json
    standing = SvdKey.find_login_key(USER)
    assert standing is not None
    assert standing.is_revoked


def test_a_lost_key_is_replaced_and_the_history_tells(manage: Manage, key: str) -> None:
    new = new_key()
    done = manage("users", "replace-key", USER, "--pmc", new, "--by", "alice", "--json")
    assert done.code == 0
    assert done.json["public_key_hex"] == new
    (replaced,) = manage("users", "show-key", USER, "--json").json["history"]
    assert replaced["public_key_hex"] == key
    assert replaced["replaced_by"] == "operator alice"
    assert "operator alice" in manage("users", "show-key", USER).stdout.replace("\n", " ")


def test_who_does_it_is_the_account_unless_told(manage: Manage, key: str) -> None:
    done = manage("users", "revoke-key", USER, "--json")
    assert done.json["revoked_by"].removeprefix("operator ")


@pytest.mark.parametrize("command", ["show-key", "revoke-key", "replace-key"])
def test_a_user_without_a_key_is_refused(manage: Manage, command: str) -> None:
    words = ["--pmc", new_key()] if command == "replace-key" else []
    done = manage("users", command, "ab" * 12, *words)
    assert done.code == 5
    assert "no login key" in done.stderr


@pytest.mark.parametrize("user", ["", "5a", "5a" * 12 + "0", "zz" * 12, "5a" * 11 + "5\n"])
def test_what_is_no_user_id_is_wrong_usage(manage: Manage, user: str) -> None:
    done = manage("users", "show-key", user)
    assert done.code == 2
    assert "24 hexadecimal characters" in done.stderr


@pytest.mark.parametrize("public_key_hex", ["", "02", "02" + "00" * 31 + "05", "04" + "ab" * 64])
def test_what_is_no_key_is_refused(manage: Manage, key: str, public_key_hex: str) -> None:
    done = manage("users", "replace-key", USER, "--pmc", public_key_hex)
    assert done.code == 5
    assert login_keys.get(USER).public_key_hex == key


def test_a_key_in_use_is_refused(manage: Manage, key: str) -> None:
    other = new_key()
    login_keys.register("6b" * 12, other, None)
    for taken in (key, other):
        done = manage("users", "replace-key", USER, "--pmc", taken)
        assert done.code == 5
    assert login_keys.get(USER).history == []


@pytest.mark.parametrize("by", ["", "  ", "a\nb"])
def test_an_operator_has_a_name(manage: Manage, key: str, by: str) -> None:
    assert manage("users", "revoke-key", USER, "--by", by).code == 5
    assert login_keys.get(USER).revoked_at is None


def test_without_a_database_nothing_is_done(manage: Manage, key: str) -> None:
    away = {"MONGODB_URI": "mongodb://127.0.0.1:1/?directConnection=true"}
    before = dict(manage.world.environ)
    manage.world.environ.update(away | {"DB_SERVER_SELECTION_TIMEOUT_MS": "100"})
    try:
        done = manage("users", "revoke-key", USER)
    finally:
        manage.world.environ.clear()
        manage.world.environ.update(before)
        manage.world.reopen()
    assert done.code == 4
    assert login_keys.get(USER).revoked_at is None
