"""The last lines of logs, and the lines that come after them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

POLL_SECONDS = 0.2


def last_lines(path: Path, count: int) -> list[str]:
    """The file's last lines; none when there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=count)]


def follow(paths: Mapping[str, Path]) -> Iterator[tuple[str, str] | None]:
    """Yield (name, line) for each line written from now on, and None after each look at all."""
    offsets = {name: _size(path) for name, path in paths.items()}
    while True:
        for name, path in paths.items():
            if _size(path) < offsets[name]:
                offsets[name] = 0
            lines, offsets[name] = _read_lines(path, offsets[name])
            for line in lines:
                yield name, line
        yield None
        time.sleep(POLL_SECONDS)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read_lines(path: Path, offset: int) -> tuple[list[str], int]:
    """The complete lines from the offset on, and where the next one begins."""
    if _size(path) <= offset:
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        whole = file.read().rpartition(b"\n")[0]
    if not whole:
        return [], offset
    return whole.decode("utf-8", "replace").split("\n"), offset + len(whole) + 1
