"""The pace of calls to one service, kept together by all workers on all hosts.

It is the generic cell rate algorithm without a burst: one number in Redis says when the next
call may go, each caller takes that place and moves the number on by one interval. A place is
taken before the caller waits for it, so callers go in order and nobody has to ask again.
"""

import math
import random
import threading
import time
from collections.abc import Callable

import redis

from app.clients.sharing import RedisGuard
from app.clients.transport import NotSentError

LONGEST_WAIT_SECONDS = 120.0
LONGEST_HOLD_SECONDS = 60.0
# Workers that wait for neighbouring places should not wake in step; a tenth keeps the pace.
JITTER = 0.1
_MICROSECONDS = 1_000_000

# All in microseconds of Redis's own clock, the only one that the hosts share. Answers how long
# to wait, or minus that when it is more than the caller has. A number beyond what callers can
# have written means that the clock was set back.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, budget, horizon = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local free_at = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
if free_at < now or free_at > now + horizon then free_at = now end
local wait = free_at - now
if wait > budget and ARGV[4] == '0' then return -wait end
local next_at = math.min(free_at + interval, now + horizon)
local life = math.ceil((next_at - now) / 1000) + 1000
redis.call('SET', KEYS[1], string.format('%.0f', next_at), 'PX', life)
return wait
"""
_HOLD = """
local clock = redis.call('TIME')
local next_at = clock[1] * 1000000 + clock[2] + tonumber(ARGV[1])
if next_at > (tonumber(redis.call('GET', KEYS[1]) or '0') or 0) then
  local life = math.ceil(tonumber(ARGV[1]) / 1000) + 1000
  redis.call('SET', KEYS[1], string.format('%.0f', next_at), 'PX', life)
end
return 0
"""


class SharedPacer:
    """Lets `per_second` calls a second go, all processes on one Redis together.

    While Redis is away each process keeps that pace for itself.
    """

    def __init__(
        self,
        service: str,
        per_second: float,
        redis_client: redis.Redis,
        *,
        longest_wait_seconds: float = LONGEST_WAIT_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        random_unit: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not per_second > 0:
            raise ValueError("a pace is a positive number of calls a second")
        self._interval_seconds = 1.0 / per_second
        self._longest_wait_seconds = longest_wait_seconds
        self._key = f"patchproof:pace:{service}"
        self._take_script = redis_client.register_script(_TAKE)
        self._hold_script = redis_client.register_script(_HOLD)
        self._guard = RedisGuard(f"the pace of calls to {service}", clock=clock)
        self._alone = LocalPace(self._interval_seconds, clock=clock)
        self._sleep = sleep
        self._random_unit = random_unit

    def wait(self, budget_seconds: float, *, is_urgent: bool = False) -> None:
        """Return when the next call may go; raise NotSentError when that is beyond the budget.

        An urgent call is counted and goes at once.
        """
        budget = min(max(budget_seconds, 0.0), self._longest_wait_seconds)
        seconds = self._guard.ask(
            lambda: self._take(budget, is_urgent), lambda: self._alone.take(budget, is_urgent)
        )
        if seconds < 0:
            raise NotSentError(-seconds)
        if seconds > 0 and not is_urgent:
            self._sleep(seconds + JITTER * self._interval_seconds * self._random_unit())

    def hold(self, seconds: float) -> None:
        """Let no call but urgent ones go for a while, at most a minute."""
        bounded = min(seconds, LONGEST_HOLD_SECONDS)
        self._guard.ask(lambda: self._hold(bounded), lambda: self._alone.hold(bounded))

    def _take(self, budget: float, is_urgent: bool) -> float:
        horizon = self._longest_wait_seconds + LONGEST_HOLD_SECONDS + self._interval_seconds
        numbers = map(_microseconds, (self._interval_seconds, budget, horizon))
        wait = self._take_script(keys=[self._key], args=[*numbers, int(is_urgent)])
        return int(wait) / _MICROSECONDS

    def _hold(self, seconds: float) -> None:
        self._hold_script(keys=[self._key], args=[_microseconds(seconds)])


class LocalPace:
    """The same rule for the threads of one process."""

    def __init__(
        self, interval_seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = float("-inf")

    def take(self, budget_seconds: float, is_urgent: bool) -> float:
        """Return how long to wait, or minus that when it is more than the budget."""
        with self._lock:
            now = self._clock()
            free_at = max(self._free_at, now)
            wait = free_at - now
            if wait > budget_seconds and not is_urgent:
                return -wait
            self._free_at = free_at + self._interval_seconds
            return wait

    def hold(self, seconds: float) -> None:
        """Move the next place to `seconds` from now, if it is nearer."""
        with self._lock:
            self._free_at = max(self._free_at, self._clock() + seconds)


def _microseconds(seconds: float) -> int:
    return math.ceil(seconds * _MICROSECONDS)
