"""The token in memory, and its renewal."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest

from patchproof_client import MissingCredentialsError
from patchproof_client import tokens as module
from patchproof_client.tokens import Token, TokenKeeper


def token(name: str, life: int = 900) -> Token:
    claims = {"sub": name, "iat": 1_700_000_000, "exp": 1_700_000_000 + life}
    secret = "a secret of more than thirty-two characters"
    return Token(jwt.encode(claims, secret, algorithm="HS256"))


class Clock:
    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_nobody_is_logged_in_at_first() -> None:
    with pytest.raises(MissingCredentialsError):
        TokenKeeper().get()


def test_token_is_renewed_shortly_before_its_end_by_this_machines_clock(clock: Clock) -> None:
    keeper, made = TokenKeeper(), []

    def renew() -> Token:
        made.append(token(f"renewed {len(made)}"))
        return made[-1]

    # Its times are long past by the clock on the wall, which may be wrong.
    first = token("first")
    keeper.keep(first, renew)
    clock.now += 839
    assert keeper.get() == first
    clock.now += 2
    assert keeper.get() == made[0]
    clock.now += 839
    assert keeper.get() == made[0]
    clock.now += 2
    assert keeper.get() == made[1]


@pytest.mark.parametrize("odd", ["no.token.this", "x", "a.e30.c", "a.bnVsbA.c", "a.W10.c"])
def test_token_that_tells_no_end_is_kept(clock: Clock, odd: str) -> None:
    keeper = TokenKeeper()
    keeper.keep(Token(odd), lambda: token("another"))
    clock.now += 10**9
    assert keeper.get() == Token(odd)


def test_without_leave_nothing_is_renewed(clock: Clock) -> None:
    keeper, first = TokenKeeper(), token("first")
    keeper.keep(first)
    clock.now += 10_000
    assert keeper.get() == first
    assert not keeper.replace(first)


def test_threads_share_one_renewal() -> None:
    keeper, renewals, first = TokenKeeper(), [], token("first")
    start = threading.Barrier(8)

    def renew() -> Token:
        renewals.append(1)
        return token("second")

    def replace(_: int) -> bool:
        start.wait(timeout=10)
        return keeper.replace(first)

    keeper.keep(first, renew)
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(replace, range(8)))
    assert len(renewals) == 1


def test_forgotten_is_forgotten() -> None:
    keeper = TokenKeeper()
    keeper.keep(token("first"), lambda: token("second"))
    keeper.forget()
    with pytest.raises(MissingCredentialsError):
        keeper.get()
    assert not keeper.replace(token("first"))


def test_representation_shows_no_token() -> None:
    keeper = TokenKeeper()
    keeper.keep(token("first"))
    assert repr(keeper) == "<TokenKeeper with a token>"
    assert repr(token("first")) == "Token()"
