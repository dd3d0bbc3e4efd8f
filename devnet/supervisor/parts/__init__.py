"""The parts of a devnet, in the order in which they start."""

from __future__ import annotations

from devnet.supervisor.parts.application import BeatPart, WebPart, WorkerPart
from devnet.supervisor.parts.base import Part
from devnet.supervisor.parts.world import (
    ChainPart,
    DatabasePart,
    MailPart,
    RedisPart,
    SignerPart,
)

PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        DatabasePart(),
        RedisPart(),
        MailPart(),
        ChainPart(),
        SignerPart(),
        WebPart(),
        WorkerPart(),
        BeatPart(),
    )
}

__all__ = ["PARTS", "Part"]
