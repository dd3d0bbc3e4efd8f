"""`manage.py keys`: keys are made, listed, ended and followed, and shown once."""

from __future__ import annotations

import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.api_keys import KeyText
from app.domain.clock import utc_now
from app.errors import UnauthorizedError
from app.models.api_key import ApiKey
from app.services import api_keys
from app.services.api_keys import KeyIdentity
from tests.integration.commands.conftest import Ended, Manage

CREATE = ("keys", "create", "--name", "till-7", "--scope", "pos")


def identity_of(text: str) -> KeyIdentity | None:
    """Whose key it is; None where it does not work."""
    try:
        return api_keys.authenticate(text.encode())
    except UnauthorizedError:
        return None


def created(manage: Manage, *words: str) -> str:
    done = manage(*(words or CREATE))
    assert done.code == 0, done.stderr
    return done.stdout.strip()


def prefix_of(text: str) -> str:
    return text.split("_")[1]


def listed(manage: Manage, *words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = manage("keys", "list", "--json", *words).json["keys"]
    return rows


def age(text: str, **changes: timedelta) -> None:
    """Moves times of a key into the past."""
    prefix = prefix_of(text)
    moved = {name: utc_now() - by for name, by in changes.items()}
    ApiKey._get_collection().update_one({"_id": prefix}, {"$set": moved})


# Making


def test_the_text_alone_is_on_stdout(manage: Manage) -> None:
    done = manage(*CREATE)
    assert done.code == 0
    (text,) = done.stdout.splitlines()
    assert KeyText.parse(text.encode()) is not None
    identity = identity_of(text)
    assert identity is not None
    assert (identity.name, list(identity.scopes)) == ("till-7", ["pos"])
    told = f"Key {prefix_of(text)} of till-7, pos, never expires. It is not shown again.\n"
    assert done.stderr == told


def test_a_program_gets_one_object(manage: Manage) -> None:
    done = manage(*CREATE, "--scope", "metrics", "--expires-in", "90d", "--json")
    assert done.stderr == ""
    made = done.json
    assert identity_of(made["key"]) is not None
    assert made["prefix"] == prefix_of(made["key"])
    assert made["scopes"] == ["pos", "metrics"]
    assert made["state"] == "live"
    lives = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert lives == timedelta(days=90)


def test_the_text_goes_into_a_file_of_the_operators_alone(manage: Manage, tmp_path: Path) -> None:
    path = tmp_path / "till.key"
    done = manage(*CREATE, "--output", str(path))
    assert done.code == 0
    text = path.read_text()
    assert identity_of(text.strip()) is not None
    assert text.endswith("\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert text.strip() not in done.stdout + done.stderr
    assert prefix_of(text) in done.stdout

    again = manage(*CREATE, "--output", str(tmp_path / "other.key"), "--json")
    assert again.json["output"] == str(tmp_path / "other.key")
    assert "key" not in again.json


@pytest.mark.parametrize("kind", ["file", "link", "folder that is not there"])
def test_a_file_that_is_there_is_never_overwritten(
    manage: Manage, tmp_path: Path, kind: str
) -> None:
    path, words = tmp_path / "till.key", ("exists and is not overwritten; no key was made")
    if kind == "file":
        path.write_text("precious")
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path, words = tmp_path / "none" / "till.key", "can't be written: No such file or directory"
    done = manage(*CREATE, "--output", str(path))
    assert (done.code, done.stdout) == (5, "")
    assert words in done.stderr
    assert listed(manage) == []
    assert not (tmp_path / "elsewhere").exists()
    if kind == "file":
        assert path.read_text() == "precious"


def test_a_file_is_not_left_where_no_key_was_made(manage: Manage, tmp_path: Path) -> None:
    path = tmp_path / "till.key"
    words = ("keys", "create", "--name", "me@shop.example", "--scope", "pos")
    done = manage(*words, "--output", str(path))
    assert done.code == 5
    assert "name: 1 to 64 letters" in done.stderr
    assert not path.exists()


def test_a_disk_that_is_full_says_how_to_go_on(manage: Manage, tmp_path: Path) -> None:
    path = tmp_path / "till.key"
    with no_room_in_files():
        done = manage(*CREATE, "--output", str(path))
    assert (done.code, done.stdout) == (1, "")
    (row,) = listed(manage)
    assert f"run manage.py keys rotate {row['prefix']} --grace 0" in done.stderr
    assert not path.exists()
    assert manage("keys", "rotate", row["prefix"], "--grace", "0").code == 0


@contextmanager
def no_room_in_files() -> Iterator[None]:
    """Lets this process write nothing into files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--name", "x"), 2),
        (("--scope", "pos"), 2),
        (("--name", "x", "--scope", "everything"), 2),
        (("--name", "x", "--scope", "POS"), 2),
        (("--name", "", "--scope", "pos"), 5),
        (("--name", "x" * 10_240, "--scope", "pos"), 5),
        (("--name", "a\ud800", "--scope", "pos"), 5),
        (("--name", "x", "--scope", "pos", "--expires-in", "soon"), 2),
        (("--name", "x", "--scope", "pos", "--expires-in", "90"), 2),
        (("--name", "x", "--scope", "pos", "--expires-in", "-1d"), 2),
        (("--name", "x", "--scope", "pos", "--expires-in", "1.5d"), 2),
        (("--name", "x", "--scope", "pos", "--expires-in", "9" * 40 + "d"), 2),
        (("--name", "x", "--scope", "pos", "--expires-in", "999999w"), 5),
        (("--name", "x", "--scope", "pos", "--expires-in", "0"), 5),
    ],
)
def test_nonsense_makes_no_key(manage: Manage, words: tuple[str, ...], code: int) -> None:
    done = manage("keys", "create", *words)
    assert (done.code, done.stdout) == (code, "")
    assert done.stderr
    assert listed(manage) == []


# Listing


def test_no_key_is_2(manage: Manage) -> None:
    done = manage("keys", "list")
    assert (done.code, done.stdout) == (2, "")
    assert "API_KEY is set" in done.stderr
    assert manage("keys", "list", "--json").json == {"keys": [], "API_KEY": True}


def test_a_list_tells_how_each_key_stands(manage: Manage) -> None:
    texts = {name: created(manage, *CREATE[:2], "--name", name, *CREATE[4:]) for name in STATES}
    age(texts["used"], created_at=timedelta(days=99), last_used_at=timedelta(days=29))
    age(texts["unused"], created_at=timedelta(days=99), last_used_at=timedelta(days=45, hours=1))
    age(texts["never-used"], created_at=timedelta(days=30, hours=1))
    age(texts["expired"], created_at=timedelta(days=90), expires_at=timedelta(days=1))
    assert manage("keys", "revoke", prefix_of(texts["revoked"])).code == 0

    rows = {row["name"]: row for row in listed(manage)}
    assert {name: (row["state"], row["unused"]) for name, row in rows.items()} == STATES
    later = {row["name"]: row["unused"] for row in listed(manage, "--unused-days", "31")}
    assert (later["never-used"], later["unused"]) == (False, True)

    table = manage("keys", "list", "--json").stdout + manage("keys", "list").stdout
    assert not any(text.split("_")[2] in table for text in texts.values())


STATES = {
    "new": ("live", False),
    "used": ("live", False),
    "unused": ("live", True),
    "never-used": ("live", True),
    "expired": ("expired", False),
    "revoked": ("revoked", False),
}


def test_a_table_is_for_people(manage: Manage) -> None:
    text = created(manage)
    age(text, created_at=timedelta(days=45, hours=1))
    done = manage("keys", "list")
    assert done.code == 0
    words = done.stdout.replace("\u2502", " ").split()
    assert {"till-7", "pos", "unused", "45", "days"} <= set(words)
    assert "prefix" in done.stdout


# Ending


def test_s6_a_revoked_key_does_not_work_any_more(manage: Manage) -> None:
    text = created(manage)
    done = manage("keys", "revoke", prefix_of(text), "--json")
    assert (done.code, done.json["state"]) == (0, "revoked")
    assert identity_of(text) is None
    assert manage("keys", "revoke", prefix_of(text)).code == 2


def test_a_beginning_will_do_where_one_key_has_it(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for prefix in ("abcd00000001", "abcd00000002", "abce00000003"):
        text = KeyText(prefix, f"pp_{prefix}_{'0' * 64}")
        monkeypatch.setattr(KeyText, "generate", lambda text=text: text)
        created(manage)
    assert manage("keys", "revoke", "pp_abce").code == 0
    done = manage("keys", "revoke", "abcd")
    assert (done.code, done.stdout) == (5, "")
    assert "abcd may be abcd00000001 or abcd00000002: give more of it" in done.stderr
    assert [row["state"] for row in listed(manage)] == ["live", "live", "revoked"]


@pytest.mark.parametrize("group", [("revoke",), ("rotate", "--grace", "0")])
@pytest.mark.parametrize(
    ("prefix", "code", "words"),
    [
        ("0123456789ab", 5, "no key has a prefix that begins with 0123456789ab"),
        ("012", 2, "is no prefix"),
        ("", 2, "is no prefix"),
        (".*.*", 2, "is no prefix"),
        ("ABCD", 2, "is no prefix"),
        ("abcd\x00", 2, "is no prefix"),
        ("abcd\udcff", 2, "is no prefix"),
        ("a" * 10_240, 2, "is no prefix"),
        (f"pp_{'0' * 12}_{'e' * 64}", 2, "is a whole key"),
    ],
)
def test_what_is_no_prefix_is_said(
    manage: Manage, group: tuple[str, ...], prefix: str, code: int, words: str
) -> None:
    created(manage)
    done = manage("keys", *group, prefix)
    assert (done.code, done.stdout) == (code, "")
    assert words in " ".join(done.stderr.split())
    assert "e" * 64 not in done.stderr
    assert [row["state"] for row in listed(manage)] == ["live"]


def test_the_last_key_that_goes_is_noticed(manage: Manage) -> None:
    manage.world.environ["API_KEY"] = ""
    one, two = created(manage), created(manage)
    assert manage("keys", "revoke", prefix_of(one)).stderr == ""
    done = manage("keys", "revoke", prefix_of(two))
    assert done.code == 0
    assert "No key works now and API_KEY is not set" in done.stderr
    assert "No key works now" in manage("keys", "list").stderr


# Rotating


def test_rotation_gives_the_same_rights_under_a_new_text(manage: Manage) -> None:
    old = created(manage, *CREATE, "--expires-in", "90d")
    new = manage("keys", "rotate", prefix_of(old), "--grace", "1h", "--json").json
    assert (new["name"], new["scopes"]) == ("till-7", ["pos"])
    assert new["rotated_from"] == prefix_of(old)
    assert identity_of(old) is not None
    assert identity_of(new["key"]) is not None
    first, second = listed(manage)
    assert datetime.fromisoformat(first["expires_at"]) - utc_now() <= timedelta(hours=1)
    assert datetime.fromisoformat(second["expires_at"]) - utc_now() > timedelta(days=89)

    again = manage("keys", "rotate", prefix_of(old), "--grace", "1h")
    assert (again.code, again.stdout) == (5, "")
    assert "has a successor already: rotate or revoke that one" in again.stderr


def test_rotation_without_grace_ends_the_old_key(manage: Manage, tmp_path: Path) -> None:
    old, path = created(manage), tmp_path / "new.key"
    done = manage("keys", "rotate", prefix_of(old), "--grace", "0", "--output", str(path))
    assert done.code == 0
    assert identity_of(old) is None
    assert identity_of(path.read_text().strip()) is not None
    assert manage("keys", "rotate", prefix_of(old), "--grace", "0").code == 5


@pytest.mark.parametrize(
    ("grace", "code"),
    [((), 2), (("--grace", "soon"), 2), (("--grace", "-1h"), 2), (("--grace", "999999w"), 5)],
)
def test_rotation_wants_to_know_the_grace(
    manage: Manage, grace: tuple[str, ...], code: int
) -> None:
    old = created(manage)
    assert manage("keys", "rotate", prefix_of(old), *grace).code == code
    assert len(listed(manage)) == 1


# Around


def each_command(prefix: str) -> Iterator[tuple[str, ...]]:
    yield CREATE
    yield ("keys", "list")
    yield ("keys", "revoke", prefix)
    yield ("keys", "rotate", prefix, "--grace", "0")


def test_a_database_that_is_away_is_4(manage: Manage, tmp_path: Path) -> None:
    manage.world.environ |= {
        "MONGODB_URI": "mongodb://127.0.0.1:1/?directConnection=true",
        "DB_SERVER_SELECTION_TIMEOUT_MS": "50",
    }
    for words in each_command("0123456789ab"):
        done = manage(*words)
        assert (done.code, done.stdout) == (4, ""), words
        assert "the database: " in done.stderr
    path = tmp_path / "till.key"
    assert manage(*CREATE, "--output", str(path)).code == 4
    assert not path.exists()


def test_the_first_key_is_made_where_there_is_none(manage: Manage) -> None:
    """In a process of its own, in production's way: without API_KEY nothing else can start."""
    manage.world.environ.pop("API_KEY")
    done = manage.process(*CREATE)
    assert done.code == 0, done.stderr
    manage.world.reopen()
    assert identity_of(done.stdout.strip()) is not None


def test_the_help_teaches(manage: Manage) -> None:
    shown = manage("keys", "--help").stdout
    for word in ("patches:write", "admin", "pos", "metrics", "x-api-key", "Exit codes"):
        assert word in shown
    for command in ("create", "rotate"):
        assert "manage.py keys " + command in manage("keys", command, "--help").stdout


def test_no_secret_is_on_stderr(manage: Manage) -> None:
    ended: list[Ended] = [manage(*CREATE), manage(*CREATE, "--json")]
    for done in ended:
        assert not any(word.startswith("pp_") for word in done.stderr.split())
