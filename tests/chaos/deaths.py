"""Ends the work of this process, as far as the services can tell, at its n-th step.

A death is a BaseException that nobody catches. Once dead, nothing is written and nobody is called
any more: whatever stands in a `finally` on the way out would not have run either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from pymongo.collection import Collection

from app.clients.transport import HttpTransport

_WRITES = ("bulk_write", "insert_one", "insert_many", "update_one", "update_many", "delete_many")


class Death(BaseException):
    """The process has died."""


class Life:
    """How many steps are left; at 0 it ends before the step or after it."""

    def __init__(self, steps: int, *, is_before: bool) -> None:
        self._left = steps
        self._is_before = is_before
        self.is_over = False

    def step(self, act: Callable[[], Any]) -> Any:
        """Takes a step, or dies."""
        self._left -= 1
        if self._left < 0 and self._is_before:
            self.is_over = True
        self.go_on()
        result = act()
        self.is_over = self.is_over or self._left < 0
        self.go_on()
        return result

    def go_on(self) -> None:
        if self.is_over:
            raise Death


@contextmanager
def dying_after(steps: int, *, is_before: bool) -> Iterator[Life]:
    """Runs the body until its step number `steps`, counted from 0; a short body lives on.

    The life says afterwards whether it `is_over`.
    """
    life = Life(steps, is_before=is_before)
    with pytest.MonkeyPatch.context() as patch:
        for name in _WRITES:
            patch.setattr(Collection, name, _counted(getattr(Collection, name), life))
        patch.setattr(HttpTransport, "_exchange", _counted(HttpTransport._exchange, life))
        command = redis.Redis.execute_command
        patch.setattr(redis.Redis, "execute_command", _while_alive(command, life))
        try:
            yield life
        except Death:
            return


def _counted(original: Callable[..., Any], life: Life) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        return life.step(lambda: original(*args, **kwargs))

    return counted


def _while_alive(original: Callable[..., Any], life: Life) -> Callable[..., Any]:
    def while_alive(*args: Any, **kwargs: Any) -> Any:
        life.go_on()
        return original(*args, **kwargs)

    return while_alive
