"""Whether this process can do its work, part by part, asked and not remembered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

import pymongo
import redis
from pymongo.errors import PyMongoError

from app import extensions
from app.clients.outcomes import ClientError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Readiness:
    """`parts` gives for each part None where it answers, else the reason.

    Without signer or chain an asynchronous service still accepts records and keeps them, so it is
    ready; a synchronous one is not.
    """

    is_ready: bool
    parts: Mapping[str, str | None]

    @property
    def problems(self) -> dict[str, str]:
        """The parts that do not answer, with the reason."""
        return {part: reason for part, reason in self.parts.items() if reason is not None}


# Outside services are asked at most this often, whoever polls.
_OUTSIDE_SECONDS = 10.0
_outside_lock = Lock()
_DATABASE_SECONDS = 3.0


def check() -> Readiness:
    """Asks database, Redis, signer and chain service whether they answer."""
    current = extensions.get()
    parts = {
        "database": _ask("database", _check_database),
        "redis": _ask("redis", _check_redis),
        "signer": _ask_seldom("signer", current.kms.ping),
        "chain": _ask_seldom("chain", current.chain.ping),
        **_broadcaster_parts(),
    }
    needed = ["database", "redis"]
    if not current.settings.jobs_async:
        needed += ["signer", "chain"]
    return Readiness(all(parts[name] is None for name in needed), parts)


def _broadcaster_parts() -> dict[str, str | None]:
    """A broadcaster that failed again and again is left alone for a while, and says so here."""
    return {
        f"broadcaster {name}": None
        if state.until is None or state.position == "closed"
        else f"left alone after repeated failures until {state.until:%H:%M:%S} UTC"
        for name, state in extensions.get().broadcaster.circuit_states().items()
    }


_indexed: set[str] = set()


def _check_database() -> str | None:
    # The driver's own limits are those of a long query: whoever polls would have left by then.
    with pymongo.timeout(_DATABASE_SECONDS):
        return _find_database_problem()


def _find_database_problem() -> str | None:
    current = extensions.get()
    current.database.admin.command("ping")
    if current.settings.db_name not in _indexed:
        # Without the unique indexes nothing keeps a patch from being registered twice.
        if extensions.missing_indexes():
            return "indexes are missing: run manage.py db migrate"
        _indexed.add(current.settings.db_name)
    return None


def _ask(part: str, question: Callable[[], str | None]) -> str | None:
    try:
        return question()
    except (PyMongoError, redis.RedisError, ClientError) as error:
        # Its words name hosts: they are for the log, not for whoever polls.
        logger.warning("%s does not answer: %s", part, error, extra={"event": "not_ready"})
        return "does not answer"


def _check_redis() -> str | None:
    extensions.get().redis.ping()
    return None


def _ask_seldom(name: str, question: Callable[[], None]) -> str | None:
    with _outside_lock:
        remembered = extensions.get().readings
        asked_at, answer = remembered.get(name, (0.0, None))
        if not asked_at or time.monotonic() - asked_at > _OUTSIDE_SECONDS:
            answer = _ask(name, question)
            remembered[name] = (time.monotonic(), answer)
        return answer
