"""API keys in the database: made, used, ended, followed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from pymongo import monitoring

from app.domain.api_keys import KeyText, Scope
from app.domain.clock import utc_now
from app.errors import (
    ConflictError,
    InsufficientScopeError,
    InvalidInputError,
    NotFoundError,
    UnauthorizedError,
)
from app.models.api_key import ApiKey
from app.services import api_keys
from app.services.api_keys import KeyState, NewKey
from tests.bench.counting import counting
from tests.integration.services.lab import Lab
from tests.integration.services.test_races import at_once

DAY = timedelta(days=1)
SetTime = Callable[[timedelta], datetime]


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> SetTime:
    """Lets the time of the keys be so much later than it is."""

    def set_time(later: timedelta) -> datetime:
        now = utc_now() + later
        monkeypatch.setattr(api_keys, "utc_now", lambda: now)
        return now

    return set_time


def make(*scopes: Scope, **options: Any) -> NewKey:
    return api_keys.create("shop", scopes or (Scope.PATCHES_WRITE,), **options)


def works(key: NewKey) -> bool:
    try:
        api_keys.authenticate(key.text.encode())
    except UnauthorizedError:
        return False
    return True


def stored(key: NewKey) -> dict[str, Any]:
    row = ApiKey.find_row(key.facts.prefix)
    assert row is not None
    return dict(row)


def test_a_key_tells_who_it_is(lab: Lab) -> None:
    key = make(Scope.POS, Scope.METRICS)
    identity = api_keys.authenticate(key.text.encode())
    assert (identity.name, identity.prefix) == ("shop", key.facts.prefix)
    identity.require(Scope.POS)
    with pytest.raises(InsufficientScopeError):
        identity.require(Scope.PATCHES_WRITE)


def test_the_text_of_a_key_is_not_stored(lab: Lab) -> None:
    key = make()
    secret = key.text.split("_")[2]
    assert secret not in str(stored(key))
    assert secret not in repr(key)


@pytest.mark.parametrize("change", ["secret", "prefix", "stranger"])
def test_a_key_that_is_not_whole_is_nobodys(lab: Lab, change: str) -> None:
    key, other = make(), make()
    secret = key.text.split("_")[2]
    given = {
        "secret": f"pp_{key.facts.prefix}_{secret[:-1]}{'1' if secret[-1] == '0' else '0'}",
        "prefix": f"pp_{other.facts.prefix}_{secret}",
        "stranger": KeyText.generate().text,
    }[change]
    with pytest.raises(UnauthorizedError, match="missing or wrong"):
        api_keys.authenticate(given.encode())
    assert "last_used_at" not in stored(key)


def test_a_key_of_a_newer_version_opens_nothing_more(lab: Lab) -> None:
    key = make(Scope.POS)
    lab.collection("api_keys").update_one(
        {"_id": key.facts.prefix}, {"$set": {"scopes": ["pos", "everything"]}}
    )
    with pytest.raises(InsufficientScopeError):
        api_keys.authenticate(key.text.encode()).require(Scope.ADMIN)


def test_an_expired_key_is_refused_from_its_moment_on(lab: Lab, passed: SetTime) -> None:
    passed(timedelta())
    key = make(lifetime=DAY)
    assert key.facts.expires_at == key.facts.created_at + DAY
    passed(DAY - timedelta(minutes=1))
    assert works(key)
    passed(DAY + timedelta(seconds=1))
    with pytest.raises(UnauthorizedError, match="this API key is expired"):
        api_keys.authenticate(key.text.encode())
    assert api_keys.get_key(key.facts.prefix).state is KeyState.EXPIRED


def test_s6_a_revoked_key_is_refused_for_good(lab: Lab, passed: SetTime) -> None:
    key = make()
    assert works(key)
    assert api_keys.revoke(key.facts.prefix)
    first = stored(key)
    with pytest.raises(UnauthorizedError, match="this API key is revoked"):
        api_keys.authenticate(key.text.encode())
    passed(DAY)
    assert not api_keys.revoke(key.facts.prefix)
    assert stored(key) == first


def test_a_wrong_secret_does_not_learn_that_a_key_has_ended(lab: Lab) -> None:
    key = make()
    api_keys.revoke(key.facts.prefix)
    wrong = key.text[:-4] + "0000"
    with pytest.raises(UnauthorizedError, match="missing or wrong"):
        api_keys.authenticate(wrong.encode())


@pytest.mark.parametrize("name", ["", " till", "a" * 65, "me@shop.example", "a\nb", "<b>", "é"])
def test_a_name_that_does_not_belong_into_a_log_is_refused(lab: Lab, name: str) -> None:
    with pytest.raises(InvalidInputError, match="name: 1 to 64 letters"):
        api_keys.create(name, [Scope.POS])
    assert api_keys.list_keys() == []


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_a_lifetime_is_within_ten_years(lab: Lab, days: int) -> None:
    with pytest.raises(InvalidInputError, match="expires_in: up to 3650 days"):
        make(lifetime=days * DAY)
    assert api_keys.list_keys() == []


def test_a_key_without_a_scope_is_refused(lab: Lab) -> None:
    with pytest.raises(InvalidInputError, match="scope: one or more of patches:write, admin"):
        api_keys.create("till", [])


# Uses


def test_a_use_is_noted_once_a_minute(lab: Lab, passed: SetTime) -> None:
    first = passed(timedelta())
    key = make()
    for _ in range(3):
        assert works(key)
    assert stored(key)["last_used_at"] == first
    passed(timedelta(seconds=50))
    assert works(key)
    assert stored(key)["last_used_at"] == first
    later = passed(timedelta(seconds=70))
    assert works(key)
    assert stored(key)["last_used_at"] == later


def test_most_requests_read_once_and_write_nothing(lab: Lab) -> None:
    key = make()
    with counting() as counts:
        lab.configure()
        assert works(key)
        assert counts.names == ["find", "update"]
        counts.clear()
        assert works(key)
        assert works(key)
        assert counts.names == ["find", "find"]


def test_twenty_uses_at_once_are_noted_once(lab: Lab) -> None:
    key = make()
    NOTED.modified = 0
    assert at_once(20, lambda _: works(key)) == [True] * 20
    assert NOTED.modified == 1


class Noted(monitoring.CommandListener):
    """Counts the documents that updates of keys have changed."""

    def __init__(self) -> None:
        self.modified = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """What has come of it counts."""

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        if event.command_name == "update":
            self.modified += int(event.reply["nModified"])

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Changed nothing."""


# Listens to every client that is made from here on.
NOTED = Noted()
monitoring.register(NOTED)


# Rotation


def test_a_successor_works_beside_the_old_key_until_its_grace_is_over(
    lab: Lab, passed: SetTime
) -> None:
    passed(timedelta())
    old = make(Scope.POS, Scope.ADMIN)
    new = api_keys.rotate(old.facts.prefix, timedelta(hours=1))
    assert (new.facts.name, new.facts.scopes) == ("shop", old.facts.scopes)
    assert new.facts.rotated_from == old.facts.prefix
    assert (works(old), works(new)) == (True, True)
    passed(timedelta(hours=1, seconds=1))
    assert (works(old), works(new)) == (False, True)


def test_s6_without_grace_the_old_key_is_revoked(lab: Lab) -> None:
    old = make()
    new = api_keys.rotate(old.facts.prefix, timedelta(0))
    assert (works(old), works(new)) == (False, True)
    assert api_keys.get_key(old.facts.prefix).state is KeyState.REVOKED


def test_grace_never_makes_a_key_live_longer(lab: Lab) -> None:
    old = make(lifetime=DAY)
    api_keys.rotate(old.facts.prefix, 30 * DAY)
    assert api_keys.get_key(old.facts.prefix).expires_at == old.facts.expires_at


def test_a_successor_lives_as_long_as_the_old_key_was_made_for(lab: Lab, passed: SetTime) -> None:
    passed(timedelta())
    old = make(lifetime=90 * DAY)
    now = passed(60 * DAY)
    assert api_keys.rotate(old.facts.prefix, DAY).facts.expires_at == now + 90 * DAY


def test_a_successor_may_be_given_another_end(lab: Lab) -> None:
    old = make()
    new = api_keys.rotate(old.facts.prefix, DAY, 7 * DAY)
    assert new.facts.expires_at == new.facts.created_at + 7 * DAY


@pytest.mark.parametrize("days", [-1, 3651, 7_000_000])
def test_grace_is_within_ten_years(lab: Lab, days: int) -> None:
    old = make()
    with pytest.raises(InvalidInputError, match="grace: 0 to 3650 days"):
        api_keys.rotate(old.facts.prefix, days * DAY)
    assert len(api_keys.list_keys()) == 1


def test_a_key_has_one_successor(lab: Lab) -> None:
    old = make()
    new = api_keys.rotate(old.facts.prefix, DAY)
    with pytest.raises(ConflictError, match="has a successor already"):
        api_keys.rotate(old.facts.prefix, DAY)
    assert works(api_keys.rotate(new.facts.prefix, DAY))
    assert len(api_keys.list_keys()) == 3


def test_a_key_that_is_rotated_ten_times_at_once_has_one_successor(lab: Lab) -> None:
    old = make()
    results = at_once(10, lambda _: api_keys.rotate(old.facts.prefix, timedelta(0)))
    assert sum(isinstance(result, ConflictError) for result in results) == 9
    (new,) = (result for result in results if isinstance(result, NewKey))
    live = [key.prefix for key in api_keys.list_keys() if key.state is KeyState.LIVE]
    assert live == [new.facts.prefix]


@pytest.mark.parametrize("grace", [timedelta(0), DAY], ids=["at once", "a day"])
def test_a_key_that_is_revoked_while_it_is_rotated_has_no_heir(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, grace: timedelta
) -> None:
    old = make()
    insert = ApiKey.insert

    def insert_and_lose(key: ApiKey) -> None:
        insert(key)
        api_keys.revoke(old.facts.prefix)

    monkeypatch.setattr(ApiKey, "insert", insert_and_lose)
    with pytest.raises(ConflictError, match="has ended meanwhile"):
        api_keys.rotate(old.facts.prefix, grace)
    assert {key.state for key in api_keys.list_keys()} == {KeyState.REVOKED}


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_key_that_has_ended_is_not_rotated(lab: Lab, passed: SetTime, end: str) -> None:
    old = make(lifetime=DAY)
    if end == "revoked":
        api_keys.revoke(old.facts.prefix)
    else:
        passed(2 * DAY)
    with pytest.raises(ConflictError, match=f"is {end}: create a new one"):
        api_keys.rotate(old.facts.prefix, DAY)
    assert len(api_keys.list_keys()) == 1


@pytest.mark.parametrize("ask", [api_keys.revoke, api_keys.get_key, api_keys.find_prefix])
def test_an_unknown_prefix_is_named(lab: Lab, ask: Callable[[str], object]) -> None:
    with pytest.raises(NotFoundError, match="0123456789ab"):
        ask("0123456789ab")
    with pytest.raises(NotFoundError, match="0123456789ab"):
        api_keys.rotate("0123456789ab", DAY)


def test_a_beginning_finds_the_one_key_that_has_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for prefix in ("abcd00000001", "abcd00000002", "abce00000003"):
        generate = partial(KeyText, prefix, f"pp_{prefix}_{'0' * 64}")
        monkeypatch.setattr(KeyText, "generate", generate)
        make()
    assert api_keys.find_prefix("abce") == "abce00000003"
    assert api_keys.find_prefix("abcd00000001") == "abcd00000001"
    with pytest.raises(ConflictError, match="abcd may be abcd00000001 or abcd00000002"):
        api_keys.find_prefix("abcd")


def test_a_prefix_that_is_taken_makes_no_second_key(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = KeyText("abcd00000001", f"pp_abcd00000001_{'0' * 64}")
    monkeypatch.setattr(KeyText, "generate", lambda: text)
    make()
    with pytest.raises(ConflictError, match="try again"):
        make(Scope.ADMIN)
    assert [list(key.scopes) for key in api_keys.list_keys()] == [["patches:write"]]


def test_a_live_key_is_one_that_works(lab: Lab, passed: SetTime) -> None:
    assert not api_keys.has_live_key()
    api_keys.revoke(make().facts.prefix)
    assert not api_keys.has_live_key()
    make(lifetime=DAY)
    assert api_keys.has_live_key()
    passed(2 * DAY)
    assert not api_keys.has_live_key()
    make()
    assert api_keys.has_live_key()
