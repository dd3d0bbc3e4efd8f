"""The body of every failure."""

from __future__ import annotations

from typing import NotRequired

from pydantic import BaseModel
from typing_extensions import TypedDict


class ErrorDetail(TypedDict):
    """What is wrong with one field: its dotted path and what was expected there."""

    field: str
    message: str


class ErrorDescription(TypedDict):
    """The error: its class, a sentence for people, a code for programs."""

    name: str
    message: str
    code: str
    status: int
    requestId: str | None
    details: NotRequired[list[ErrorDetail]]


class ErrorBody(BaseModel):
    """A failure; `code` and `message` repeat those of `error` for clients that read them here."""

    error: ErrorDescription
    code: str
    message: str
