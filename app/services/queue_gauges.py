"""What monitoring reads of the broker: how much waits in each queue, and who holds which lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app import extensions
from app.queue import Queue
from app.services import batches, checkup, maintenance, migrating

_LOCKS = (maintenance.POOL, batches.LOCK, checkup.LOCK, migrating.LOCK)
# Where the broker keeps messages that were delivered and are not acknowledged yet.
_DELIVERED = "unacked"


@dataclass(frozen=True)
class QueueGauges:
    """Messages by queue, messages that are being worked at, and which locks are held."""

    depth: Mapping[str, int]
    delivered: int
    is_held: Mapping[str, bool]


def read() -> QueueGauges:
    """Reads them in one round trip.

    Raises:
        redis.RedisError: Redis is away.
    """
    pipeline = extensions.get().redis.pipeline(transaction=False)
    for queue in Queue:
        pipeline.llen(queue.value)
    for name in _LOCKS:
        pipeline.exists(f"lock:{name}")
    pipeline.hlen(_DELIVERED)
    answers = pipeline.execute()
    depths, held = answers[: len(Queue)], answers[len(Queue) : -1]
    return QueueGauges(
        depth={queue.value: int(number) for queue, number in zip(Queue, depths, strict=True)},
        delivered=int(answers[-1]),
        is_held={name: bool(number) for name, number in zip(_LOCKS, held, strict=True)},
    )
