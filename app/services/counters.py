"""Counts of logins by mail, kept in Redis: any process tells the same, and a restart changes none.

What can't be counted is not: no login fails for it.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Any

import redis

from app import extensions

logger = logging.getLogger(__name__)

_KEY = "metrics:logins"


class Counter(StrEnum):
    """What is counted, in the names that monitoring knows."""

    CHALLENGES_ISSUED = "pp_challenges_issued"
    TOKENS_ISSUED = "pp_jwt_success"


class Method(StrEnum):
    """How somebody logs in."""

    EMAIL = "email"


def count(counter: Counter, method: Method) -> None:
    """Adds one, unless METRICS_ENABLED is off."""
    current = extensions.get()
    if not current.settings.metrics_enabled:
        return
    try:
        current.redis.hincrby(_KEY, f"{counter}:{method}", 1)
    except redis.RedisError as error:
        logger.warning(
            "a login was not counted",
            extra={"event": "login_not_counted", "reason": type(error).__name__},
        )


def read() -> dict[Counter, dict[Method, int]]:
    """Reads every counter; none where METRICS_ENABLED is off.

    Raises:
        redis.RedisError: Redis is away.
    """
    current = extensions.get()
    if not current.settings.metrics_enabled:
        return {}
    stored: Any = current.redis.hgetall(_KEY)
    return {
        counter: {method: int(stored.get(f"{counter}:{method}", 0)) for method in Method}
        for counter in Counter
    }
