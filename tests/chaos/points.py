"""Names every durable write and every outside call of a process, and ends it at a chosen one.

A point is one side of one step: `before pool.try_lock utxos.update by Utxo.lock_each #1`. The names
come from the stack at that moment, so a step that is added to the path has points of its own
without anybody writing them down.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import redis
from celery import Celery
from pymongo import monitoring

from app.clients.transport import HttpTransport

WRITES = frozenset({"insert", "update", "delete", "findAndModify"})
POINT_VARIABLE = "CHAOS_POINT"
TRACE_VARIABLE = "CHAOS_TRACE"
_PLUMBING = frozenset({"transport", "pacing", "circuit", "sharing", "broadcasting"})
_VARIABLE_PARTS = re.compile(r"/(?:[0-9a-f]{64}|[mn1][1-9A-HJ-NP-Za-km-z]{25,34}|\d+)(?=/|$)")

Act = Callable[[str], None]


def watch(act: Act) -> None:
    """Calls `act` with the name of each point that this process comes to.

    To be called before the process makes its connections.
    """
    steps = _Steps(act)
    monitoring.register(_WriteListener(steps))
    _wrap(HttpTransport, "_exchange", steps, _name_request)
    _wrap(redis.Redis, "execute_command", steps, _name_redis_command)
    _wrap(Celery, "send_task", steps, lambda task, *_: f"queue {task}")


def ending_at(wanted: str, *, end: Callable[[], None]) -> Act:
    """Acts by ending the process at the point of that name."""

    def act(name: str) -> None:
        if name == wanted:
            end()

    return act


def writing_to(path: Path) -> Act:
    """Acts by adding the name to a file, one a line."""

    def act(name: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")

    return act


def die() -> None:
    """This process is gone, as with the power."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_with_parent() -> None:
    """A worker's child dies, and its parent before it, so that nobody can clear up."""
    os.kill(os.getppid(), signal.SIGKILL)
    die()


def fall_asleep() -> None:
    """This process stops until it gets a SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


class _Steps:
    """Numbers the steps of one name, and tells both sides of each."""

    def __init__(self, act: Act) -> None:
        self._act = act
        self._counts: Counter[str] = Counter()

    def begin(self, what: str) -> str | None:
        """Comes to the near side; answers the step's name, None where it is none of ours."""
        # Heartbeats run beside the path, at times that nobody can name.
        where = _find_place() if threading.current_thread() is threading.main_thread() else None
        if where is None:
            return None
        label = f"{where} {what}"
        self._counts[label] += 1
        name = f"{label} #{self._counts[label]}"
        self._act(f"before {name}")
        return name

    def end(self, name: str | None) -> None:
        if name is not None:
            self._act(f"after {name}")


class _WriteListener(monitoring.CommandListener):
    """Comes to both sides of each write command to the database."""

    def __init__(self, steps: _Steps) -> None:
        self._steps = steps
        self._names: dict[int, str | None] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in WRITES:
            collection = event.command[event.command_name]
            by = _find_document_method()
            name = f"{collection}.{event.command_name}{f' by {by}' if by else ''}"
            self._names[event.request_id] = self._steps.begin(name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._steps.end(self._names.pop(event.request_id, None))

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._names.pop(event.request_id, None)


def _wrap(owner: type, method: str, steps: _Steps, describe: Callable[..., str | None]) -> None:
    original = getattr(owner, method)

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        what = describe(*args)
        name = None if what is None else steps.begin(what)
        result = original(self, *args, **kwargs)
        steps.end(name)
        return result

    setattr(owner, method, watched)


def _name_request(method: str, path: str, *_: Any) -> str | None:
    client = next((each for each in _modules("app.clients.") if each not in _PLUMBING), None)
    if client is None:
        return None
    return f"{client} {method} {_VARIABLE_PARTS.sub('/*', path)}"


def _name_redis_command(*args: Any) -> str | None:
    # The clients' pace and circuit are kept in Redis too, nothing durable, and a queue's message
    # is a point of its own.
    if any(True for _ in _modules("app.clients.")) or any(True for _ in _modules("app.queue")):
        return None
    return f"redis {args[0]}"


def _find_place() -> str | None:
    """The service's function at work, or None where no service is."""
    for frame in _frames():
        module = frame.f_globals.get("__name__", "")
        if module.startswith("app.services."):
            return f"{module.rpartition('.')[2]}.{frame.f_code.co_name.lstrip('_')}"
    return None


def _find_document_method() -> str | None:
    """The method of a document that a service has called, if it went through one."""
    method = None
    for frame in _frames():
        module = frame.f_globals.get("__name__", "")
        if module.startswith("app.services."):
            return method
        if module.startswith("app.models."):
            method = frame.f_code.co_qualname
    return method


def _modules(prefix: str) -> Iterator[str]:
    for frame in _frames():
        module = frame.f_globals.get("__name__", "")
        if module.startswith(prefix):
            yield module.rpartition(".")[2]


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
