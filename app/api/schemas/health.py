"""What probes read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Alive(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    ready: Literal[True]


class NotReady(BaseModel):
    """Which parts are missing, and why."""

    ready: Literal[False]
    parts: dict[str, str]
