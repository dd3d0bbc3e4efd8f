"""What probes read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Alive(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    """`degraded` names parts that are away while records are still accepted and kept."""

    ready: Literal[True]
    degraded: dict[str, str] = Field(default={}, description="part: reason; absent without any")


class NotReady(BaseModel):
    """Which parts are missing, and why."""

    ready: Literal[False]
    parts: dict[str, str]
