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


@dataclass(frozen=True)
class Tally:
    """What is to be added to the counts: a hash in Redis, its fields, and how long it is kept.

    Whoever talks to Redis anyway takes it along.
    """

    key: str
    amounts: dict[str, float]
    kept_seconds: int = _KEPT_SECONDS

    @property
    def pairs(self) -> list[str | float]:
        """Fields and amounts in turn."""
        return [part for pair in self.amounts.items() for part in pair]


def tally(event: Event, kid: str, age_seconds: float | None = None) -> Tally:
    """Makes the tally of an event, with the age of its challenge where one was used."""
    amounts: dict[str, float] = {f"{_EVENT}:{event}:{kid}": 1}
    if age_seconds is not None:
        amounts[f"{_AGE}:{bisect_left(AGE_BUCKETS, age_seconds)}:{kid}"] = 1
        amounts[f"{_AGE}:{_SUM}:{kid}"] = round(age_seconds, 3)
    return Tally(_key(), amounts)


def count(event: Event, kid: str) -> None:
    """Counts an event by a call of its own, if Redis takes it."""
    counted = tally(event, kid)
    pipeline = extensions.get().redis.pipeline(transaction=False)
    for name, amount in counted.amounts.items():
        pipeline.hincrbyfloat(counted.key, name, amount)
    pipeline.expire(counted.key, counted.kept_seconds)
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
            counts.events[label, kid] = int(float(value))
        elif label == _SUM:
            counts.ages[kid].seconds = float(value)
        else:
            counts.ages[kid].buckets[int(label)] = int(float(value))
    return counts


def _key() -> str:
    return f"metrics:svd:{extensions.get().settings.deploy_sha}"
