"""Counts requests against the limits of their routes, in Redis.

Limits of the door count by address, before anybody is authenticated and the body is read; the
others count once it is known who asks and for whom. Each of the two steps is one round trip,
whatever the number of limits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

from flask import Response, current_app, g, request

from app import extensions
from app.api.callers import api_key_given, digest
from app.api.limits import REFUSED_KEY, Counted, Limit, declared_by
from app.clients.windows import Place, Standing
from app.errors import RateLimitedError, UnavailableError

P = ParamSpec("P")
R = TypeVar("R")

_OUTAGE_RETRY_SECONDS = 5
_GOOD_KEY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class _Held:
    """A place that the current request has in a window."""

    limit: Limit
    place: Place
    standing: Standing

    @property
    def remaining(self) -> int:
        return max(0, self.place.maximum - self.standing.count)

    @property
    def reset_seconds(self) -> int:
        return max(1, _seconds(self.standing.left_ms))

    @property
    def is_to_be_returned(self) -> bool:
        return self.limit.counted is Counted.FAILURES

    def returned(self) -> _Held:
        """The same without its place."""
        return replace(self, standing=replace(self.standing, count=self.standing.count - 1))


def enforce_at_door() -> None:
    """Counts a request to a known route by its address.

    Raises:
        RateLimitedError: the address has asked often enough.
        UnavailableError: Redis is away, and one of the limits is closed then.
    """
    g.held = []
    if request.endpoint is None or request.method == "OPTIONS":
        return
    declared = declared_by(current_app.view_functions[request.endpoint])
    _take([limit for limit in declared if limit.is_at_door], {})


def counted(view: Callable[P, R], limits: Sequence[Limit]) -> Callable[P, R]:
    """The view behind those of its limits that need to know who asks."""
    inside = [limit for limit in limits if not limit.is_at_door]
    if not inside:
        return view

    @functools.wraps(view)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        _take(inside, kwargs)
        return view(*args, **kwargs)

    return call


def finish(response: Response) -> Response:
    """Counts what only the answer shows, and tells the caller where they stand."""
    held: list[_Held] = g.get("held", [])
    if response.status_code < 400:
        held = _return_places(held)
    if response.status_code == 401:
        _count_refusal(held)
    _remember_good_key()
    _add_headers(response, held)
    return response


def _take(limits: Sequence[Limit], arguments: Mapping[str, Any]) -> None:
    if not limits:
        return
    places = [limit.place(arguments) for limit in limits]
    taken = extensions.get().rate_windows.take(places)
    if taken is None:
        _go_on_without(limits)
        return
    held = [_Held(*each) for each in zip(limits, places, taken.standings, strict=True)]
    if not taken.is_full:
        g.held += held
        return
    full = [each for each in held if not each.remaining]
    if all(each.limit is REFUSED_KEY for each in full) and _is_good_key():
        _take([limit for limit in limits if limit is not REFUSED_KEY], arguments)
        return
    _refuse(full)


def _go_on_without(limits: Sequence[Limit]) -> None:
    if any(limit.is_closed for limit in limits):
        raise UnavailableError(
            "a part of the service is away; the same request may work later",
            retry_after_seconds=_OUTAGE_RETRY_SECONDS,
        )


def _refuse(full: Sequence[_Held]) -> None:
    last = max(full, key=lambda each: each.standing.left_ms)
    # What was held of an earlier step was used for nothing, and is not given back.
    g.held = [last]
    seconds = last.reset_seconds
    raise RateLimitedError(
        f"too many requests; try again in {seconds} seconds", retry_after_seconds=seconds
    )


def _return_places(held: Sequence[_Held]) -> list[_Held]:
    returned = [each for each in held if each.is_to_be_returned]
    if returned:
        windows = extensions.get().rate_windows
        windows.give_back([(each.place, each.standing) for each in returned])
    return [each.returned() if each.is_to_be_returned else each for each in held]


def _count_refusal(held: Sequence[_Held]) -> None:
    places = [each.place for each in held if each.limit.counted is Counted.REFUSALS]
    if places:
        extensions.get().rate_windows.take([replace(place, cost=1) for place in places])


def _remember_good_key() -> None:
    if g.get("api_key") is not None:
        extensions.get().rate_windows.remember(_good_key_mark(), _GOOD_KEY_SECONDS)


def _is_good_key() -> bool:
    return extensions.get().rate_windows.remembers(_good_key_mark())


def _good_key_mark() -> str:
    return f"rl:good-key:{digest(api_key_given())}"


def _add_headers(response: Response, held: Sequence[_Held]) -> None:
    shown = [
        each
        for each in held
        if each.limit.counted is not Counted.REFUSALS or response.status_code == 429
    ]
    if not shown:
        return
    # The nearest wall.
    nearest = min(shown, key=lambda each: each.remaining)
    place = nearest.place
    response.headers["RateLimit-Policy"] = f"{place.maximum};w={_seconds(place.window_ms)}"
    response.headers["RateLimit-Limit"] = str(place.maximum)
    response.headers["RateLimit-Remaining"] = str(nearest.remaining)
    response.headers["RateLimit-Reset"] = str(nearest.reset_seconds)


def _seconds(milliseconds: int) -> int:
    return -(-milliseconds // 1000)
