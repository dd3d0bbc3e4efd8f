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
_NOW, _NEVER = float("-inf"), float("inf")
_T = TypeVar("_T")


class RedisGuard:
    """Asks Redis first and, while it is away, the process itself; says so once a minute.

    After a failure nobody asks for `rest_seconds`; then one caller does, and as long as it waits
    the others go on without.
    """

    def __init__(
        self,
        purpose: str,
        *,
        meanwhile: str = "is kept by each process alone",
        rest_seconds: float = REST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._purpose = purpose
        self._meanwhile = meanwhile
        self._rest_seconds = rest_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._asks_again_at = _NOW
        self._warns_again_at = _NOW

    def ask(self, shared: Callable[[], _T], alone: Callable[[], _T]) -> _T:
        """Return what `shared` gives or, while Redis fails or has just failed, `alone`."""
        if not self._may_ask():
            return alone()
        try:
            answer = shared()
        except redis.RedisError as error:
            self._note(error)
            return alone()
        except BaseException:
            self._asks_again_at = _NOW
            raise
        self._asks_again_at = _NOW
        return answer

    def _may_ask(self) -> bool:
        if self._asks_again_at == _NOW:
            return True
        with self._lock:
            if self._clock() < self._asks_again_at:
                return False
            self._asks_again_at = _NEVER
            return True

    def _note(self, error: redis.RedisError) -> None:
        with self._lock:
            now = self._clock()
            self._asks_again_at = now + self._rest_seconds
            if now < self._warns_again_at:
                return
            self._warns_again_at = now + WARNING_SECONDS
        # The class alone: the text of these errors names hosts.
        logger.warning(
            "%s %s, Redis is away",
            self._purpose,
            self._meanwhile,
            extra={"event": "redis_away", "purpose": self._purpose, "reason": type(error).__name__},
        )
