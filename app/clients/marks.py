"""Marks in Redis: that something was so within a given time, for all processes."""

import time

import redis

from app.clients.sharing import RedisGuard

# A mark is renewed after this part of its life.
_RENEWED_AFTER = 0.05
_MARKS_IN_MIND = 1000


class Marks:
    """Sets marks and finds them; while Redis is away there are none."""

    def __init__(self, redis_client: redis.Redis, guard: RedisGuard) -> None:
        self._redis = redis_client
        self._guard = guard
        self._renewed_at: dict[str, float] = {}

    def put(self, key: str, seconds: int) -> None:
        """Keeps a mark for so long; asks Redis for it once in a while only."""
        now = time.monotonic()
        if now < self._renewed_at.get(key, 0.0):
            return
        if self._guard.ask(lambda: self._redis.set(key, 1, ex=seconds), lambda: None):
            if len(self._renewed_at) >= _MARKS_IN_MIND:
                self._renewed_at.clear()
            self._renewed_at[key] = now + seconds * _RENEWED_AFTER

    def has(self, key: str) -> bool:
        """Tells whether a mark is kept; no while Redis is away."""
        return bool(self._guard.ask(lambda: self._redis.exists(key), lambda: 0))
