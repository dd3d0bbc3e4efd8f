"""One at a time across processes and hosts: a lock in Redis, kept alive by a heartbeat.

The lock keeps work from being done twice; it does not carry any promise. Every write of the work
is conditional anyway.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from app import extensions
from app.errors import LockHeldError, LockLostError, UnavailableError

logger = logging.getLogger(__name__)

POOL = "pool"
TTL_SECONDS = 60.0


class Guard:
    """Whoever holds it asks `check` before each durable write."""

    def __init__(self, lock: Lock, ttl_seconds: float) -> None:
        self._lock = lock
        self._ttl_seconds = ttl_seconds
        self._held_until = time.monotonic() + ttl_seconds
        self._stop = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name="lock-heartbeat", daemon=True)

    @property
    def owner(self) -> str:
        """A text that no other holder has."""
        token: bytes = self._lock.local.token
        return token.decode()

    def check(self) -> None:
        """Asks Redis whether the lock is still ours, and extends it.

        Raises:
            LockLostError: it is not, or Redis can't say.
        """
        try:
            self._extend()
        except (LockError, redis.RedisError) as error:
            raise LockLostError(f"the lock {self._lock.name} was lost: {error}") from error

    def start(self) -> None:
        self._heartbeat.start()
        self._note("lock.taken", "taken")

    def stop(self) -> None:
        """Ends the heartbeat and gives the lock back, if it is still ours."""
        self._stop.set()
        self._heartbeat.join()
        # Before it is, so that by the logs of all hosts one begins after the other's end.
        self._note("lock.given_back", "given back")
        try:
            self._lock.release()
        except (LockError, redis.RedisError) as error:
            logger.warning(
                "the lock %s could not be given back: %s",
                self._lock.name,
                error,
                extra={"event": "lock.lost"},
            )

    def _note(self, event: str, what: str) -> None:
        name = self._lock.name
        logger.info(
            "%s is %s", name, what, extra={"event": event, "lock": name, "owner": self.owner}
        )

    def _extend(self) -> None:
        asked_at = time.monotonic()
        self._lock.reacquire()
        self._held_until = asked_at + self._ttl_seconds

    def _beat(self) -> None:
        """Extends the lock thrice in its life; ends where that can't succeed any more."""
        while not self._stop.wait(self._ttl_seconds / 3):
            try:
                self._extend()
            except LockError:
                return
            except redis.RedisError:
                # Redis may come back before the lock has run out.
                if time.monotonic() > self._held_until:
                    return


@contextmanager
def exclusive(name: str = POOL, *, ttl_seconds: float = TTL_SECONDS) -> Iterator[Guard]:
    """Runs the body while nobody else runs one of the same name, on any host.

    Raises:
        LockHeldError: somebody else does; nothing is waited for.
        UnavailableError: Redis is away.
    """
    client = extensions.get().redis
    lock = Lock(client, f"lock:{name}", timeout=ttl_seconds, blocking=False, thread_local=False)
    try:
        is_mine = lock.acquire()
    except redis.RedisError as error:
        raise UnavailableError(f"Redis gives no lock: {type(error).__name__}") from error
    if not is_mine:
        raise LockHeldError(f"another process holds the lock {name!r}; try again later")
    guard = Guard(lock, ttl_seconds)
    guard.start()
    try:
        yield guard
    finally:
        guard.stop()
