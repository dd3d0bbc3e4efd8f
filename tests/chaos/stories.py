"""What the logs tell about one request, from its HTTP line to the block."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any


class Logs:
    """The JSON lines of some files, from now on."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._begins = {path: path.stat().st_size if path.exists() else 0 for path in paths}

    def follow(self, request_id: str) -> list[dict[str, Any]]:
        """The lines that name the request, in the order of their times."""
        lines = [line for line in self._lines() if _names(line, request_id)]
        return sorted(lines, key=lambda line: str(line["timestamp"]))

    def _lines(self) -> Iterator[dict[str, Any]]:
        for path, begin in self._begins.items():
            with path.open("rb") as file:
                file.seek(begin)
                yield from _parse(file)


def events(story: Iterable[dict[str, Any]]) -> list[str]:
    """The events of a story, without repeats."""
    return list(dict.fromkeys(line["event"] for line in story if "event" in line))


def _parse(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith(b"{"):
            yield json.loads(line)


def _names(line: dict[str, Any], request_id: str) -> bool:
    # A task that one request woke serves others too: what says whose it is counts.
    if "request_ids" in line:
        return request_id in line["request_ids"]
    return bool(line.get("request_id") == request_id)
