"""Small state that all processes share through Redis, and what one does while Redis is away."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import redis

logger = logging.getLogger(__name__)

# A Redis that hangs would cost every call its whole timeout.
REST_SECONDS = 5.0
WARNING_SECONDS = 60.0
_T = TypeVar("_T")


class RedisGuard:
    """Asks Redis first and, while it is away, the process itself; says so once a minute."""

    def __init__(self, purpose: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._purpose = purpose
        self._clock = clock
        self._lock = threading.Lock()
        self._asks_again_at = float("-inf")
        self._warns_again_at = float("-inf")

    def ask(self, shared: Callable[[], _T], alone: Callable[[], _T]) -> _T:
        """Return what `shared` gives or, while Redis fails or has just failed, `alone`."""
        if self._clock() >= self._asks_again_at:
            try:
                return shared()
            except redis.RedisError as error:
                self._note(error)
        return alone()

    def _note(self, error: redis.RedisError) -> None:
        with self._lock:
            now = self._clock()
            self._asks_again_at = now + REST_SECONDS
            if now < self._warns_again_at:
                return
            self._warns_again_at = now + WARNING_SECONDS
        # The class alone: the text of these errors names hosts.
        logger.warning(
            "%s is kept by each process alone, Redis is away",
            self._purpose,
            extra={"event": "redis_away", "purpose": self._purpose, "reason": type(error).__name__},
        )
