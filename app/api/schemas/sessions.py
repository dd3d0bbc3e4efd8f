"""Logging out."""

from __future__ import annotations

from pydantic import BaseModel


class LoggedOut(BaseModel):
    """The token is refused from now on."""

    success: bool
    message: str
