"""A circuit for each broadcaster: after some failures in a row it is left alone for a while.

closed: every call goes. open: none goes until its time is over. half open: one call goes and
decides; a failure opens the circuit for twice as long, up to a cap, an answer closes it.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeVar

import redis
from redis.client import Pipeline

from app.clients.sharing import RedisGuard

logger = logging.getLogger(__name__)

LONGEST_OPEN_SECONDS = 600.0
# A caller that died while it tried must not keep all others away; no call takes longer.
TRY_SECONDS = 120.0
_T = TypeVar("_T")


class CircuitState(NamedTuple):
    """What `/ready` and metrics show; `until` and `reason` are None while it is closed."""

    position: Literal["closed", "open", "half_open"]
    until: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Memory:
    """All that a circuit remembers; times are Unix seconds, `open_until` 0 means closed."""

    failures: int = 0
    openings: int = 0
    open_until: float = 0.0
    try_until: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class CircuitRules:
    """How a memory changes: pure, the same for one process and for all."""

    failures: int
    open_seconds: float

    def is_open(self, memory: Memory, now: float) -> bool:
        """Tell whether nobody may call; more than the cap ahead means that the clock was set."""
        return now < memory.open_until <= now + LONGEST_OPEN_SECONDS

    def admit(self, memory: Memory, now: float) -> tuple[Memory, bool]:
        """Return the memory after a caller has asked, and whether it may call."""
        if not memory.open_until:
            return memory, True
        if self.is_open(memory, now) or now < memory.try_until <= now + TRY_SECONDS:
            return memory, False
        return replace(memory, try_until=now + TRY_SECONDS), True

    def fail(self, memory: Memory, now: float, reason: str) -> Memory:
        """Return the memory after a call that the service did not answer."""
        if self.is_open(memory, now):
            # A call from before the opening, which has been counted enough.
            return memory
        failures = memory.failures + 1
        if not memory.open_until and failures < self.failures:
            return replace(memory, failures=failures, reason=reason)
        seconds = min(self.open_seconds * 2.0 ** min(memory.openings, 30), LONGEST_OPEN_SECONDS)
        return Memory(failures, memory.openings + 1, now + seconds, 0.0, reason)


class Circuit:
    """The circuit of one service, shared through Redis; while that is away, of this process."""

    def __init__(
        self,
        service: str,
        redis_client: redis.Redis,
        *,
        failures: int = 5,
        open_seconds: float = 30.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.service = service
        self._redis = redis_client
        self._key = f"patchproof:circuit:{service}"
        self._rules = CircuitRules(failures, open_seconds)
        self._now = now
        self._guard = RedisGuard(f"the circuit of {service}")
        self._lock = threading.Lock()
        self._own = Memory()

    def admit(self) -> bool:
        """Tell whether a call may go now; says yes to one caller at a time when half open."""
        return self._change(self._rules.admit)

    def succeed(self) -> None:
        """Note that the service answered, whatever it said."""
        self._change(lambda memory, now: (Memory(), None))

    def fail(self, reason: str) -> None:
        """Note that the service did not answer, or not with words of its own."""
        self._change(lambda memory, now: (self._rules.fail(memory, now, reason), None))

    def state(self) -> CircuitState:
        """Return where the circuit stands, changing nothing."""
        memory = self._guard.ask(self._read, lambda: self._own)
        if not memory.open_until:
            return CircuitState("closed")
        position: Literal["open", "half_open"] = (
            "open" if self._rules.is_open(memory, self._now()) else "half_open"
        )
        return CircuitState(position, datetime.fromtimestamp(memory.open_until, UTC), memory.reason)

    def _change(self, step: Callable[[Memory, float], tuple[Memory, _T]]) -> _T:
        before, after, answer = self._guard.ask(
            lambda: self._change_shared(step), lambda: self._change_own(step)
        )
        self._log(before, after)
        return answer

    def _change_own(
        self, step: Callable[[Memory, float], tuple[Memory, _T]]
    ) -> tuple[Memory, Memory, _T]:
        with self._lock:
            before = self._own
            self._own, answer = step(before, self._now())
            return before, self._own, answer

    def _change_shared(
        self, step: Callable[[Memory, float], tuple[Memory, _T]]
    ) -> tuple[Memory, Memory, _T]:
        before = self._read()
        after, answer = step(before, self._now())
        if after == before:
            # The usual case, a service that answers: one read and nothing else.
            return before, after, answer

        def write(pipeline: Pipeline) -> None:
            nonlocal before, after, answer
            before = _from_text(pipeline.get(self._key))
            after, answer = step(before, self._now())
            pipeline.multi()
            if after == Memory():
                pipeline.delete(self._key)
            else:
                life = round(2 * LONGEST_OPEN_SECONDS)
                pipeline.set(self._key, json.dumps(asdict(after)), ex=life)

        self._redis.transaction(write, self._key)
        return before, after, answer

    def _read(self) -> Memory:
        return _from_text(self._redis.get(self._key))

    def _log(self, before: Memory, after: Memory) -> None:
        if after.openings > before.openings:
            logger.warning(
                "circuit opened",
                extra={
                    "event": "circuit_opened",
                    "service": self.service,
                    "failures": after.failures,
                    "seconds": round(after.open_until - self._now()),
                    "reason": after.reason,
                },
            )
        elif before.open_until and not after.open_until:
            logger.info(
                "circuit closed", extra={"event": "circuit_closed", "service": self.service}
            )
        elif after.try_until > before.try_until:
            logger.info(
                "circuit lets one call try",
                extra={"event": "circuit_half_open", "service": self.service},
            )


def _from_text(text: Any) -> Memory:
    try:
        return Memory(**json.loads(text)) if text else Memory()
    except (TypeError, ValueError):
        # Written by another release, or by hand: start anew.
        return Memory()
