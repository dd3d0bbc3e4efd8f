"""All that monitoring reads, from the parts that answer: one that is away takes nothing along."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import pymongo
import redis
from pymongo.errors import PyMongoError

from app import extensions
from app.clients.mail import GuardedMail
from app.services import gauges, login_metrics, measuring, queue_gauges, readiness
from app.services.gauges import Gauges
from app.services.login_metrics import LoginCounts
from app.services.measuring import Readings
from app.services.queue_gauges import QueueGauges

logger = logging.getLogger(__name__)

T = TypeVar("T")
DATABASE, REDIS = "database", "redis"
# Well within the time that Prometheus gives a scrape.
_DATABASE_SECONDS = 10.0


@dataclass(frozen=True)
class Observation:
    """What was read; None in the place of what the part that has it could not tell.

    `is_up` says of each part that the service needs whether it answers.
    """

    is_up: Mapping[str, bool]
    gauges: Gauges | None
    readings: Readings | None
    logins: LoginCounts | None
    queues: QueueGauges | None
    is_circuit_open: Mapping[str, bool]
    broadcasters: tuple[str, ...]


def observe() -> Observation:
    """Reads everything that can be read; raises for no part that is away."""
    parts = readiness.check().parts
    is_up = {part: parts[part] is None for part in (DATABASE, REDIS, "signer", "chain")}

    def ask(part: str, question: Callable[[], T]) -> T | None:
        if not is_up[part]:
            return None
        try:
            return question()
        except (PyMongoError, redis.RedisError) as error:
            # The class alone: the text of these errors names hosts.
            reason = type(error).__name__
            logger.warning("%s: %s", part, reason, extra={"event": "monitoring.part_away"})
            is_up[part] = False
            return None

    return Observation(
        gauges=ask(DATABASE, _read_gauges),
        readings=ask(REDIS, measuring.read),
        logins=ask(REDIS, login_metrics.read),
        queues=ask(REDIS, queue_gauges.read),
        is_circuit_open=_circuits(),
        broadcasters=tuple(extensions.get().broadcaster.circuit_states()),
        is_up=is_up,
    )


def _read_gauges() -> Gauges:
    with pymongo.timeout(_DATABASE_SECONDS):
        return gauges.read()


def _circuits() -> dict[str, bool]:
    current = extensions.get()
    states = dict(current.broadcaster.circuit_states())
    if isinstance(current.mail, GuardedMail):
        states["mail"] = current.mail.circuit_state()
    return {name: state.position != "closed" for name, state in states.items()}
