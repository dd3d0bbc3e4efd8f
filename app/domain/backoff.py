"""How long to wait before the next try."""

from __future__ import annotations

from datetime import timedelta
from random import SystemRandom

_random = SystemRandom()


def backoff(attempts: int, *, base_seconds: float, cap_seconds: float) -> timedelta:
    """Doubles with each try up to a cap; half is random, so that many don't return at once.

    `attempts` is how many tries were made before, from 0.
    """
    ceiling = min(cap_seconds, base_seconds * 2 ** min(attempts, 30))
    return timedelta(seconds=ceiling / 2 + _random.uniform(0, ceiling / 2))
