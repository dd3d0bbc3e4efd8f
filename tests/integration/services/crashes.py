"""Ends the process, as far as the services can tell, at a chosen point of a pass.

A crash is a BaseException, so no `except Exception` and no `except ClientError` can act on it.
What runs after it is only what another process would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from app.clients.whatsonchain import WhatsOnChainClient
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, commitment, pool, settlement


class Crash(BaseException):
    """The process has died."""


@dataclass(frozen=True)
class CrashPoint:
    """Where to die: after `calls` calls of a function, each cut to what `share` leaves of it.

    `share` changes the arguments: for "half of it was written".
    """

    owner: Any
    name: str
    calls: int = 1
    share: Callable[..., tuple[Any, ...]] | None = None
    when: Callable[..., bool] = lambda *_: True


def _half_of_mapping(wanted: dict[Any, Any]) -> tuple[Any, ...]:
    return (dict(list(wanted.items())[: len(wanted) // 2]),)


def _half_of_list(wanted: Any) -> tuple[Any, ...]:
    items = list(wanted)
    return (items[: len(items) // 2],)


def _half_of_ids(ids: Any, *rest: Any) -> tuple[Any, ...]:
    return (list(ids)[: len(ids) // 2], *rest)


def _moves(event: str) -> Callable[..., bool]:
    return lambda _ids, given, *_: given == event


POINTS: dict[str, CrashPoint] = {
    "half of claim": CrashPoint(AuthenticationRecord, "claim", 1, lambda r, now: (r[:2], now)),
    "claim": CrashPoint(AuthenticationRecord, "claim"),
    "half of lock": CrashPoint(Utxo, "lock_each", 1, lambda w, now: (*_half_of_mapping(w), now)),
    "lock_each": CrashPoint(Utxo, "lock_each"),
    "lock": CrashPoint(pool, "lock"),
    "endorse": CrashPoint(anchoring, "endorse"),
    "sign": CrashPoint(anchoring, "sign_all"),
    "half of persist": CrashPoint(ChainTransaction, "insert_all", 1, _half_of_list),
    "persist": CrashPoint(commitment, "persist"),
    "half of hold": CrashPoint(Utxo, "hold_each", 1, _half_of_mapping),
    "hold": CrashPoint(Utxo, "hold_each"),
    "half of commit_each": CrashPoint(AuthenticationRecord, "commit_each", 1, _half_of_list),
    "commit_each": CrashPoint(AuthenticationRecord, "commit_each"),
    "half of committed": CrashPoint(
        ChainTransaction, "move_all", 1, _half_of_ids, _moves("committed")
    ),
    "committed": CrashPoint(ChainTransaction, "move_all", 1, None, _moves("committed")),
    "first broadcast": CrashPoint(WhatsOnChainClient, "broadcast"),
    "third broadcast": CrashPoint(WhatsOnChainClient, "broadcast", 3),
    "half of accepted": CrashPoint(
        ChainTransaction, "accept_all", 1, lambda t, at: (*_half_of_list(t), at)
    ),
    "accepted": CrashPoint(ChainTransaction, "accept_all"),
    "half of spend_each": CrashPoint(Utxo, "spend_each", 1, _half_of_list),
    "spend_each": CrashPoint(Utxo, "spend_each"),
    "half of add_all": CrashPoint(Utxo, "add_all", 1, _half_of_list),
    "add_all": CrashPoint(Utxo, "add_all"),
    "half of advance_each": CrashPoint(PatchState, "advance_each", 1, _half_of_list),
    "advance_each": CrashPoint(PatchState, "advance_each"),
    "half of settle_each": CrashPoint(AuthenticationRecord, "settle_each", 1, _half_of_list),
    "settle_each": CrashPoint(AuthenticationRecord, "settle_each"),
    "mark_settled": CrashPoint(ChainTransaction, "mark_settled"),
    "settle": CrashPoint(settlement, "settle"),
}

# Where a transaction that can never be mined is undone.
UNWINDING_POINTS: dict[str, CrashPoint] = {
    "reject": CrashPoint(ChainTransaction, "reject"),
    "mark_spent_elsewhere": CrashPoint(Utxo, "mark_spent_elsewhere"),
    "release_dead": CrashPoint(Utxo, "release_dead"),
    "return_rejected": CrashPoint(AuthenticationRecord, "return_rejected"),
    "finish_unwinding": CrashPoint(ChainTransaction, "finish_unwinding"),
}


@contextmanager
def crashing(point: CrashPoint) -> Iterator[None]:
    """Runs the body until it dies at the point.

    The test fails when the body comes to its end.
    """
    with pytest.MonkeyPatch.context() as patch:
        _arm(point, patch)
        try:
            yield
        except Crash:
            return
    pytest.fail("the point of the crash was never reached")


def _arm(point: CrashPoint, patch: pytest.MonkeyPatch) -> None:
    original = getattr(point.owner, point.name)
    left = [point.calls]

    def dying(*args: Any, **kwargs: Any) -> Any:
        if not point.when(*args):
            return original(*args, **kwargs)
        result = original(*(point.share(*args) if point.share else args), **kwargs)
        left[0] -= 1
        if left[0] == 0:
            raise Crash(point.name)
        return result

    # A method of instances is looked up on the class and gets its instance.
    is_method = isinstance(point.owner, type) and not hasattr(original, "__self__")
    patch.setattr(point.owner, point.name, dying if is_method else _Plain(dying))


class _Plain:
    """A callable that a class does not bind to its instances."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)
