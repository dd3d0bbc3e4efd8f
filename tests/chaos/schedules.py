"""What happens when in a storm: drawn from a seed, so that a storm can be had again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The more there is on the way in a part, the more often it dies.
WEIGHTS: Mapping[str, int] = {
    "worker": 9,
    "beat": 2,
    "web": 3,
    "signer": 2,
    "redis": 2,
    "database": 2,
    "chain": 2,
}
BROADCAST = "/tx/raw"
FAULTS: Sequence[Mapping[str, Any]] = (
    {"kind": "false_missing_inputs", "probability": 0.7},
    {"kind": "accept_then_missing_inputs", "probability": 0.7},
    {"kind": "cut_after", "path": BROADCAST, "probability": 0.7},
    {"kind": "cut_before", "path": BROADCAST, "probability": 0.7},
    {"kind": "cut_after", "probability": 0.5},
    {"kind": "status", "status": 429, "retry_after": 1, "probability": 0.8},
    {"kind": "status", "status": 503},
    {"kind": "garbage", "probability": 0.5},
    {"kind": "hide_outputs"},
    {"kind": "bad_merkle_path"},
    {"kind": "delay", "seconds": 1.5, "probability": 0.3},
)
PAUSE_SECONDS = (0.2, 1.6)
DOWN_SECONDS = (0.0, 3.0)


@dataclass(frozen=True)
class Event:
    """After a pause, something happens to a part or to the chain's weather."""

    pause_seconds: float
    action: str
    part: str = ""
    down_seconds: float = 0.0
    fault: Mapping[str, Any] | None = None


def draw(seed: int, kills: int) -> Iterator[Event]:
    """Draws events until so many kills are among them."""
    chance = random.Random(seed)
    while kills:
        pause = round(chance.uniform(*PAUSE_SECONDS), 2)
        dice = chance.random()
        if dice < 0.6:
            kills -= 1
            [part] = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
            down = round(chance.uniform(*DOWN_SECONDS), 2)
            yield Event(pause, "kill", part=part, down_seconds=down)
        elif dice < 0.72:
            yield Event(pause, "lie", fault=chance.choice(FAULTS))
        elif dice < 0.88:
            yield Event(pause, "tell the truth")
        elif dice < 0.96:
            yield Event(pause, "mine")
        else:
            yield Event(pause, "evict")
