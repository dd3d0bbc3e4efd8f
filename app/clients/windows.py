"""Fixed windows in Redis: how often something happened since its window began.

A window begins with the first event and ends by itself, so all that is kept is one number with a
time to live. Any number of windows is looked at and counted in one script: all of them or none,
so that what one refuses uses up nothing of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import redis

from app.clients.sharing import RedisGuard

# One caller finds out every second whether Redis is back; the others do not wait with it.
REST_SECONDS = 1.0
# A mark is renewed after this part of its life.
_RENEWED_AFTER = 0.05
_MARKS_IN_MIND = 1000
_T = TypeVar("_T")

# Answers whether a window is full, the clock, and count and remaining life of each. A life that is
# missing or longer than the window is what an older setting or a person has left: it begins anew.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local answer, is_full, is_new = {0, now}, false, {}
for i, key in ipairs(KEYS) do
  local maximum, window = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local count = tonumber(redis.call('GET', key) or '0') or 0
  local left = redis.call('PTTL', key)
  is_new[i] = left == -2
  if left < 0 or left > window then
    redis.call('PEXPIRE', key, window)
    left = window
  end
  is_full = is_full or count >= maximum
  answer[2 * i + 1], answer[2 * i + 2] = count, left
end
if is_full then
  answer[1] = 1
  return answer
end
for i, key in ipairs(KEYS) do
  local cost = tonumber(ARGV[3 * i])
  if cost > 0 then
    answer[2 * i + 1] = redis.call('INCRBY', key, cost)
    if is_new[i] then redis.call('PEXPIRE', key, ARGV[3 * i - 1]) end
  end
end
return answer
"""

# A window that began later ends at least its length later, so half of that tells them apart.
_GIVE_BACK = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i, key in ipairs(KEYS) do
  local ends_at, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local left = redis.call('PTTL', key)
  local is_same = left >= 0 and now + left < ends_at + window / 2
  if is_same and (tonumber(redis.call('GET', key) or '0') or 0) > 0 then
    redis.call('DECR', key)
  end
end
return 0
"""


@dataclass(frozen=True)
class Place:
    """A place in a window that holds `maximum` of them; one of cost 0 looks and counts nothing."""

    key: str
    maximum: int
    window_ms: int
    cost: int = 1


@dataclass(frozen=True)
class Standing:
    """Where a window stands: places taken, how long it lasts, and when it ends by Redis's clock."""

    count: int
    left_ms: int
    ends_at_ms: int


@dataclass(frozen=True)
class Taken:
    """What became of an attempt: either every place was taken, or none because one had no more."""

    is_full: bool
    standings: Sequence[Standing]


class FixedWindows:
    """Counts for all processes on one Redis together, or not at all while that is away."""

    def __init__(self, redis_client: redis.Redis, purpose: str, meanwhile: str) -> None:
        self._redis = redis_client
        self._take_script = redis_client.register_script(_TAKE)
        self._give_back_script = redis_client.register_script(_GIVE_BACK)
        self._renewed_at: dict[str, float] = {}
        self._guard = RedisGuard(purpose, meanwhile=meanwhile, rest_seconds=REST_SECONDS)

    def take(self, places: Sequence[Place]) -> Taken | None:
        """Takes all places at once, or none; answers None while Redis is away.

        One round trip, whatever the number of places.
        """
        return self._ask(lambda: self._take(places))

    def give_back(self, places: Sequence[tuple[Place, Standing]]) -> None:
        """Returns places to the windows that they were taken from, unless those have ended."""
        arguments: list[int] = []
        for place, standing in places:
            arguments += [standing.ends_at_ms, place.window_ms]
        keys = [place.key for place, _ in places]
        self._ask(lambda: self._give_back_script(keys=keys, args=arguments))

    def remember(self, key: str, seconds: int) -> None:
        """Keeps a mark for so long; asks Redis for it once in a while only."""
        now = time.monotonic()
        if now < self._renewed_at.get(key, 0.0):
            return
        if self._ask(lambda: self._redis.set(key, 1, ex=seconds)):
            if len(self._renewed_at) >= _MARKS_IN_MIND:
                self._renewed_at.clear()
            self._renewed_at[key] = now + seconds * _RENEWED_AFTER

    def remembers(self, key: str) -> bool:
        """Tells whether a mark is kept; no while Redis is away."""
        return bool(self._ask(lambda: self._redis.exists(key)))

    def _take(self, places: Sequence[Place]) -> Taken:
        arguments: list[int] = []
        for place in places:
            arguments += [place.maximum, place.window_ms, place.cost]
        answer: list[Any] = self._take_script(keys=[place.key for place in places], args=arguments)
        is_full, now, *numbers = map(int, answer)
        return Taken(
            bool(is_full),
            [
                Standing(count, left, now + left)
                for count, left in zip(numbers[::2], numbers[1::2], strict=True)
            ],
        )

    def _ask(self, shared: Callable[[], _T]) -> _T | None:
        return self._guard.ask(shared, lambda: None)
