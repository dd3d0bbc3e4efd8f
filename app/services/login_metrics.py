"""Counts of logins, kept in Redis: any process of a release tells the same.

What can't be counted is not: no login fails for it.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import redis

from app import extensions

logger = logging.getLogger(__name__)

# Upper bounds in seconds; older ones are counted too.
AGE_BUCKETS = (15, 30, 60, 120, 180, 300)
_KEPT_SECONDS = 30 * 24 * 60 * 60
_EVENT, _AGE, _SUM = "event", "age", "sum"


class Event(StrEnum):
    """What became of a request for a login."""

    BEGIN = "begin"
    COMPLETE = "complete"
    REPLAYED = "replayed"
    EXPIRED = "expired"
    MALLEABLE_REJECT = "malleable_reject"
    INVALID = "invalid"


@dataclass
class Ages:
    """How old challenges were when they were used: seconds in all, and how many in each bucket.

    The last bucket is for those above every bound.
    """

    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(AGE_BUCKETS) + 1))


@dataclass(frozen=True)
class LoginCounts:
    """Events by what happened and the signer's key, ages by that key; both of this release."""

    events: dict[tuple[str, str], int] = field(default_factory=dict)
    ages: defaultdict[str, Ages] = field(default_factory=lambda: defaultdict(Ages))


def count(event: Event, kid: str, age_seconds: float | None = None) -> None:
    """Counts an event, with the age of its challenge where one was used."""
    pipeline = extensions.get().redis.pipeline(transaction=False)
    key = _key()
    pipeline.hincrby(key, f"{_EVENT}:{event}:{kid}")
    if age_seconds is not None:
        pipeline.hincrby(key, f"{_AGE}:{bisect_left(AGE_BUCKETS, age_seconds)}:{kid}")
        pipeline.hincrbyfloat(key, f"{_AGE}:{_SUM}:{kid}", age_seconds)
    pipeline.expire(key, _KEPT_SECONDS)
    try:
        pipeline.execute()
    except redis.RedisError as error:
        logger.warning(
            "a login event was not counted",
            extra={"event": "login_not_counted", "reason": type(error).__name__},
        )


def read() -> LoginCounts:
    """Reads what was counted.

    Raises:
        redis.RedisError: Redis is away.
    """
    counts = LoginCounts()
    stored: Any = extensions.get().redis.hgetall(_key())
    for name, value in stored.items():
        family, label, kid = name.split(":", 2)
        if family == _EVENT:
            counts.events[label, kid] = int(value)
        elif label == _SUM:
            counts.ages[kid].seconds = float(value)
        else:
            counts.ages[kid].buckets[int(label)] = int(value)
    return counts


def _key() -> str:
    return f"metrics:svd:{extensions.get().settings.deploy_sha}"
