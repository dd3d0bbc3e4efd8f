"""The windows of limits in Redis, as a storage of the library `limits`.

A window begins with the first request and ends by itself, so all that is kept of it is one number
with a time to live. The library's own Redis storage asks three times a limit, can't take a place
back and counts refusals too; docs/limits.md tells what of it is used.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from flask import g
from limits.storage import RedisStorage

from app.api.limits import of_route
from app.clients.sharing import RedisGuard
from app.errors import UnavailableError

SCHEME = "windows"
_OUTAGE_RETRY_SECONDS = 5

# Answers whether the places were taken (never for a cost of 0, which only looks), the count and
# remaining life in milliseconds, and the clock. A life that is missing or longer than the window
# is what a person has left: it begins anew.
_TAKE = """
local maximum, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local count = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
local left = redis.call('PTTL', KEYS[1])
local is_taken = cost > 0 and count + cost <= maximum
if is_taken then count = redis.call('INCRBY', KEYS[1], cost) end
if left < 0 or left > window then
  redis.call('PEXPIRE', KEYS[1], window)
  left = window
end
local clock = redis.call('TIME')
return {is_taken and 1 or 0, count, left, clock[1] * 1000 + math.floor(clock[2] / 1000)}
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
class Window:
    """A window as the current request found it; it ends by Redis's clock."""

    maximum: int
    seconds: int
    count: int
    left_ms: int
    ends_at_ms: int
    # Whether the request has a place in it, or only looked or was refused.
    is_held: bool

    @property
    def remaining(self) -> int:
        return max(0, self.maximum - self.count)

    @property
    def reset_seconds(self) -> int:
        return max(1, -(-self.left_ms // 1000))


class WindowStorage(RedisStorage):
    """Counts for all processes on one Redis together, or not at all while that is away.

    The library's strategy "moving-window" asks its storage for a place where one is free, which its
    "fixed-window" does not; when a window begins is the storage's matter. What a request was told
    is kept in its context, by key.
    """

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - as the base class has it

    def __init__(self, uri: str, *, guard: RedisGuard, **options: Any) -> None:
        super().__init__(uri, **options)
        self._guard = guard
        self._take_script = self.storage.register_script(_TAKE)
        self._give_back_script = self.storage.register_script(_GIVE_BACK)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Takes places if they are free.

        Raises:
            UnavailableError: Redis is away, and the route has a closed limit.
        """
        window = self._ask(key, limit, expiry, amount)
        return window is None or window.is_held

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the window began, by Redis's clock, and how many places are taken; takes none.

        Raises:
            UnavailableError: as `acquire_entry` does.
        """
        window = self._ask(key, limit, expiry, 0)
        return (0.0, 0) if window is None else (window.ends_at_ms / 1000 - expiry, window.count)

    def give_back(self, keys: Collection[str]) -> None:
        """Returns the current request's places to their windows, unless those have ended."""
        known = windows_asked()
        held = {key: known[key] for key in keys if key in known and known[key].is_held}
        if not held:
            return
        names = [self.prefixed_key(key) for key in held]
        numbers = [n for each in held.values() for n in (each.ends_at_ms, each.seconds * 1000)]
        self._guard.ask(lambda: self._give_back_script(keys=names, args=numbers), lambda: None)
        for key, window in held.items():
            known[key] = replace(window, count=window.count - 1)

    def _ask(self, key: str, maximum: int, seconds: int, cost: int) -> Window | None:
        names, numbers = [self.prefixed_key(key)], [maximum, seconds * 1000, cost]
        answer = self._guard.ask(lambda: self._take_script(keys=names, args=numbers), lambda: None)
        if answer is None:
            _go_on_without()
            return None
        is_taken, count, left, now = map(int, answer)
        window = Window(maximum, seconds, count, left, now + left, bool(is_taken))
        windows_asked()[key] = window
        return window


def windows_asked() -> dict[str, Window]:
    """What the current request knows of windows, by their keys."""
    known: dict[str, Window] = g.setdefault("windows", {})
    return known


def _go_on_without() -> None:
    """Lets the request pass if its route has open limits only."""
    if any(limit.is_closed for limit in of_route()):
        raise UnavailableError(
            "a part of the service is away; the same request may work later",
            retry_after_seconds=_OUTAGE_RETRY_SECONDS,
        )
