"""What a part of the devnet is doing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class PartState(StrEnum):
    """Ready answers its probe; unready runs without answering."""

    READY = "ready"
    UNREADY = "unready"
    STOPPED = "stopped"
    EXTERNAL = "external"


@dataclass(frozen=True)
class PartStatus:
    """One part as `status` shows it. An external part has neither process nor log."""

    part: str
    state: PartState
    pid: int | None
    port: int | None
    log: str | None
    problem: str | None

    @property
    def is_ready(self) -> bool:
        return self.problem is None and self.state in {PartState.READY, PartState.EXTERNAL}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
