"""Counts what a piece of work asks of others: HTTP calls and round trips to the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pymongo import monitoring

from app.clients.transport import HttpAnswer, HttpTransport


@dataclass
class Counts:
    """What was asked, in order: names of commands with their documents, and paths."""

    commands: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def clear(self) -> None:
        self.commands.clear()
        self.calls.clear()

    @property
    def names(self) -> list[str]:
        """The commands' names."""
        return [name for name, _ in self.commands]


class _Listener(monitoring.CommandListener):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self._counts.commands.append((event.command_name, event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """The start was counted."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """The start was counted."""


@contextmanager
def counting() -> Iterator[Counts]:
    """Counts for database clients that are made inside, and for every HTTP call of this process.

    Watching costs time, so nothing is timed in here.
    """
    counts = Counts()
    listener = _Listener(counts)
    exchange = HttpTransport._exchange

    def counted(self: HttpTransport, method: str, path: str, *arguments: Any) -> HttpAnswer:
        counts.calls.append(f"{method} {path}")
        return exchange(self, method, path, *arguments)

    monitoring.register(listener)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(HttpTransport, "_exchange", counted)
            yield counts
    finally:
        # pymongo has no way back; clients copy the list when they are made.
        monitoring._LISTENERS.command_listeners.remove(listener)
