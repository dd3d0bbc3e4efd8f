"""Challenges that users sign, each good for one use: kept in Redis, and nowhere else.

A challenge is kept under its SHA-256 with its user as the value, so a user has as many as were
asked for, and none takes the place of another. No number of them is too many for a user: such a
bound would let a stranger keep the owner from getting one. What bounds them is how short they
live, and the limits by address.

An answer is checked first, against the challenge that it brings along, and Redis is asked once: to
use the challenge up after a right answer, to count a wrong one. A few of those end the challenge
that they name, and nobody else's: who did not ask for one does not know its 128 random bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import redis

from app import extensions
from app.domain import svd
from app.domain.clock import utc_now
from app.errors import (
    ChallengeExpiredError,
    ChallengeReplayedError,
    LoginSignatureError,
    UnavailableError,
    WrongChallengeError,
)
from app.services.login_metrics import Tally

MAX_WRONG_ANSWERS = 5
_RETRY_SECONDS = 5
# What is kept: "<user>:<wrong answers>", and this once the challenge was used.
_USED = "used"
# KEYS: the challenge, and a hash of counts. ARGV: its user, seconds for which a used one is
# remembered, seconds for which counts are, fields of the hash and what is added to each.
# Answers what was there.
_CONSUME = """
local there = redis.call('GET', KEYS[1])
if not there or string.match(there, '^%x+') ~= ARGV[1] then
  return there
end
redis.call('SET', KEYS[1], 'used', 'EX', ARGV[2])
for i = 4, #ARGV, 2 do
  redis.call('HINCRBYFLOAT', KEYS[2], ARGV[i], ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[2], ARGV[3])
return there
"""
# KEYS: the challenge. ARGV: its user, how many wrong answers end it. Answers what was there.
_COUNT_WRONG = """
local there = redis.call('GET', KEYS[1])
local user, wrong = string.match(there or '', '^(%x+):(%d+)$')
if user ~= ARGV[1] then
  return there
end
wrong = wrong + 1
if wrong >= tonumber(ARGV[2]) then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], user .. ':' .. wrong, 'KEEPTTL')
end
return there
"""


class Purpose(StrEnum):
    """What a challenge is for; none serves for another."""

    LOGIN = "login"
    KEY = "key"
    CANARY = "canary"


@dataclass(frozen=True)
class Challenge:
    """The bytes that a caller says were made for this user, whose id is in lower case."""

    purpose: Purpose
    user_id: str
    value: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """Its SHA-256: what is signed in a login, and what it is kept under."""
        return svd.challenge_digest(self.value)

    @property
    def age_seconds(self) -> float | None:
        """How old it says that it is, below 0 for a time to come; None for no time at all."""
        made_at = svd.challenge_time(self.value)
        return None if made_at is None else (utc_now() - made_at).total_seconds()

    @property
    def _key(self) -> str:
        return f"svd:challenge:{self.purpose}:{self.digest.hex()}"


def create(purpose: Purpose, user_id: str) -> Challenge:
    """Makes a challenge for a user, known or not.

    Raises:
        UnavailableError: Redis is away.
    """
    challenge = Challenge(purpose, user_id.lower(), svd.make_challenge(utc_now()))
    with _redis_needed():
        extensions.get().redis.set(challenge._key, f"{challenge.user_id}:0", ex=life_seconds())
    return challenge


@contextmanager
def answering(challenge: Challenge) -> Iterator[None]:
    """Has the body check the answer to a challenge; counts it where the body finds it wrong.

    After MAX_WRONG_ANSWERS nobody knows the challenge any more. What `consume` refuses in any case
    is refused before the wrong answer is.

    Raises:
        LoginSignatureError: that of the body.
        ChallengeReplayedError, ChallengeExpiredError, WrongChallengeError: see `consume`.
        UnavailableError: the answer is wrong, and Redis is away.
    """
    _check_time(challenge)
    try:
        yield
    except LoginSignatureError:
        with _redis_needed():
            there = _run(_COUNT_WRONG, [challenge._key], [challenge.user_id, MAX_WRONG_ANSWERS])
        _refuse_unless_open(there, challenge)
        raise


def consume(challenge: Challenge, tally: Tally | None = None) -> None:
    """Uses a challenge up, in one step: of many callers at once, one returns, and that is counted.

    For answers that are right; see `answering`.

    Raises:
        ChallengeReplayedError: it has been used.
        ChallengeExpiredError: nobody knows it, or it is too old.
        WrongChallengeError: it is another user's, or of a time to come.
        UnavailableError: Redis is away; whether the challenge is used up is not known.
    """
    counted = tally or Tally("", {})
    with _redis_needed():
        there = _run(
            _CONSUME,
            [challenge._key, counted.key],
            [challenge.user_id, 2 * life_seconds(), counted.kept_seconds, *counted.pairs],
        )
    _refuse_unless_open(there, challenge)


def life_seconds() -> int:
    """How long a challenge lives."""
    return extensions.get().settings.svd_challenge_ttl_sec


def _run(script: str, keys: list[str], arguments: list[str | float]) -> str | None:
    found: str | None = extensions.get().redis.register_script(script)(keys, arguments)
    return found


def _refuse_unless_open(there: str | None, challenge: Challenge) -> None:
    if there is None:
        raise ChallengeExpiredError("the challenge has expired or was never made; begin again")
    if there == _USED:
        raise ChallengeReplayedError("the challenge has been used; begin again")
    if there.partition(":")[0] != challenge.user_id:
        raise WrongChallengeError("the challenge is not one of this user's")


def _check_time(challenge: Challenge) -> None:
    """Refuses by its own time, whatever Redis says."""
    skew = extensions.get().settings.svd_clock_skew_sec
    age_seconds = challenge.age_seconds
    if age_seconds is None or age_seconds < -skew:
        raise WrongChallengeError("the challenge is of a time to come")
    if age_seconds > life_seconds() + skew:
        raise ChallengeExpiredError("the challenge is too old; begin again")


@contextmanager
def _redis_needed() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise UnavailableError(
            "challenges can't be kept or checked at the moment; try again",
            retry_after_seconds=_RETRY_SECONDS,
        ) from error
