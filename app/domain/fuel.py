"""How far the pool reaches. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

# A registration with one input and change, when nothing was sent lately to learn from.
TYPICAL_REGISTRATION_BYTES = 570


@dataclass(frozen=True)
class Usage:
    """What records cost in the last hour: how many had a transaction of their own, and its bytes.

    `batched` counts those that shared one; `fee_satoshis` is what all of them paid.
    """

    records: int
    size_bytes: int
    fee_satoshis: int
    batched: int = 0


def satoshis_per_registration(usage: Usage, satoshis_per_kilobyte: int) -> int:
    """Answers what a record of its own costs at today's rate, by the size that records had lately.

    A batch says nothing about that: it costs about as much however many it carries.
    """
    size = usage.size_bytes / usage.records if usage.records else TYPICAL_REGISTRATION_BYTES
    return max(1, -(-round(size) * satoshis_per_kilobyte // 1000))


def hours_left(satoshis: int, usage: Usage) -> float | None:
    """Answers how long the satoshis last at the last hour's rate; None when nothing was sent."""
    if usage.fee_satoshis <= 0:
        return None
    return round(satoshis / usage.fee_satoshis, 1)
