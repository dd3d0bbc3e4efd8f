"""Carries what processes measure to Redis, and reads it: any process tells the same.

The one way for all numbers that are counted but those of HTTP: web, workers and beat add to the
same hash, once a second and when they end. So they survive restarts of every process, and a scrape
of any host has all of them. What a process counted in its last second is lost when it is killed;
while Redis is away it is kept and carried later.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
from prometheus_client import CollectorRegistry, ProcessCollector

from app import extensions, measures
from app.measures import Series

logger = logging.getLogger(__name__)

AMOUNTS, MOMENTS, PROCESSES = "metrics:amounts", "metrics:moments", "metrics:processes"
PERIOD_SECONDS = 1.0
# How often a process says that it is there, and how long that is believed.
_SIGN_SECONDS = 10.0
_GONE_SECONDS = 45.0
_WORDS_SECONDS = 60.0


@dataclass(frozen=True)
class Process:
    """What a process said of itself: what it is, when, and its measures by Prometheus's names."""

    service: str
    said_at: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Readings:
    """Everything that all processes have measured, and those that run."""

    amounts: Mapping[Series, float] = field(default_factory=dict)
    moments: Mapping[Series, float] = field(default_factory=dict)
    processes: tuple[Process, ...] = ()


def push() -> None:
    """Carries what this process has measured to Redis.

    Raises:
        redis.RedisError: Redis is away; what was measured is kept for the next time.
    """
    taken = measures.take()
    if not taken.amounts and not taken.moments:
        return
    pipeline = extensions.get().redis.pipeline(transaction=False)
    for series, amount in taken.amounts.items():
        pipeline.hincrbyfloat(AMOUNTS, json.dumps(series), amount)
    if taken.moments:
        moments: Any = {json.dumps(series): moment for series, moment in taken.moments.items()}
        pipeline.hset(MOMENTS, mapping=moments)
    try:
        pipeline.execute()
    except redis.RedisError:
        measures.give_back(taken)
        raise


def read() -> Readings:
    """Reads what all have measured, this process included, in one round trip.

    Raises:
        redis.RedisError: Redis is away.
    """
    push()
    client = extensions.get().redis
    pipeline = client.pipeline(transaction=False)
    for key in (AMOUNTS, MOMENTS, PROCESSES):
        pipeline.hgetall(key)
    amounts, moments, signs = pipeline.execute()
    alive = {name: sign for name, text in signs.items() if (sign := _as_process(text))}
    if gone := signs.keys() - alive.keys():
        client.hdel(PROCESSES, *gone)
    return Readings(_as_series(amounts), _as_series(moments), tuple(alive.values()))


def _as_series(stored: Mapping[str, str]) -> dict[Series, float]:
    return {tuple(json.loads(name)): float(value) for name, value in stored.items()}


def _as_process(text: str) -> Process | None:
    """One that was there a moment ago; None for another."""
    service, said_at, values = json.loads(text)
    is_here = abs(time.time() - said_at) < _GONE_SECONDS
    return Process(service, said_at, values) if is_here else None


_carriers: dict[int, _Carrier] = {}


def begin(service: str) -> None:
    """Has this process carry its measures from here on; a fork has to say so for itself."""
    if os.getpid() not in _carriers:
        carrier = _Carrier(service)
        _carriers[os.getpid()] = carrier
        carrier.start()


def end() -> None:
    """Carries the last measures, and takes this process out of those that run."""
    carrier = _carriers.pop(os.getpid(), None)
    if carrier is not None:
        carrier.stop()


class _Carrier:
    """The thread of a process that carries its measures."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="measures", daemon=True)
        self._collector = ProcessCollector(namespace="patchproof", registry=CollectorRegistry())
        self._cpu_seconds = 0.0
        self._signs_at = 0.0
        self._speaks_at = 0.0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(timeout=PERIOD_SECONDS)
        self._carry(is_last=True)

    def _run(self) -> None:
        self._carry()
        while not self._over.wait(PERIOD_SECONDS):
            self._carry()

    def _carry(self, *, is_last: bool = False) -> None:
        try:
            if is_last:
                extensions.get().redis.hdel(PROCESSES, self._name)
            elif time.monotonic() >= self._signs_at:
                self._sign()
            push()
        except Exception as error:  # noqa: BLE001 - no number is worth the end of its process
            self._complain(error)

    def _sign(self) -> None:
        values = self._values()
        cpu = values.pop(measures.CPU_SECONDS.name, 0.0)
        measures.CPU_SECONDS.add(self._service, amount=cpu - self._cpu_seconds)
        self._cpu_seconds = cpu
        sign = json.dumps([self._service, time.time(), values])
        extensions.get().redis.hset(PROCESSES, self._name, sign)
        self._signs_at = time.monotonic() + _SIGN_SECONDS

    def _values(self) -> dict[str, float]:
        return {
            sample.name: sample.value
            for family in self._collector.collect()
            for sample in family.samples
        }

    def _complain(self, error: Exception) -> None:
        if time.monotonic() >= self._speaks_at:
            self._speaks_at = time.monotonic() + _WORDS_SECONDS
            logger.warning(
                "measures are kept until they can be carried",
                extra={"event": "measures.kept", "reason": type(error).__name__},
            )
