"""Counts requests against the limits of their routes, with flask-limiter.

Limits of the door are its application limits: it counts them by address, before anybody is
authenticated and the body is read. The others are its decorators: they count once it is known who
asks and for whom. Where it keeps them is app/api/windows.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn, ParamSpec, TypeVar, cast

from flask import Flask, Response, g, request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit
from redis import Redis

from app import extensions
from app.api.callers import api_key_given, client_network, digest
from app.api.limits import DOOR, Counted, Limit, of_route
from app.api.windows import SCHEME, Window, WindowStorage, windows_asked
from app.errors import RateLimitedError

P = ParamSpec("P")
R = TypeVar("R")

_GOOD_KEY_SECONDS = 24 * 60 * 60


def init_app(app: Flask) -> None:
    """Lets the limiter count at the door, before the hooks that are added after this."""
    current = extensions.get()
    app.config["RATELIMIT_STORAGE_OPTIONS"] = {
        "connection_pool": current.redis.connection_pool,
        "key_prefix": "rl",
        "guard": current.limits_guard,
    }
    limiter.init_app(app)


def counted(view: Callable[P, R], limits: Sequence[Limit]) -> Callable[P, R]:
    """The view behind those of its limits that need to know who asks."""
    inside = [limit for limit in limits if not limit.is_at_door]
    if not inside:
        return view
    limited = view
    for limit in inside:
        limited = limiter.shared_limit(limit.rate, limit.name, key_func=limit.key)(limited)

    @functools.wraps(view)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        g.arguments = kwargs
        return limited(*args, **kwargs)

    return call


def finish(response: Response) -> Response:
    """Counts what only the answer shows, and tells the caller where they stand."""
    if response.status_code < 400:
        _give_back_places_of_failures()
    _note_key(response)
    _add_headers(response)
    return response


def _at_door(limit: Limit) -> ApplicationLimit:
    counts_refusals = limit.counted is Counted.REFUSALS
    return ApplicationLimit(
        limit_provider=partial(_rate_at_door, limit),
        key_function=limit.key,
        scope=limit.name,
        exempt_when=_is_good_key if counts_refusals else None,
        deduct_when=_is_refusal if counts_refusals else None,
    )


def _rate_at_door(limit: Limit) -> str:
    """The limit as the library reads it, or nothing where the route does not name it."""
    is_declared = request.method != "OPTIONS" and limit in of_route()
    return limit.rate() if is_declared else ""


def _refuse(breached: RequestLimit) -> NoReturn:
    """Refuses the request, which keeps no place of this step; earlier ones were used."""
    _storage().give_back([each.key for each in limiter.current_limits])
    window = g.breached_window = windows_asked()[breached.key]
    seconds = window.reset_seconds
    raise RateLimitedError(
        f"too many requests; try again in {seconds} seconds", retry_after_seconds=seconds
    )


def _give_back_places_of_failures() -> None:
    names = {limit.name for limit in of_route() if limit.counted is Counted.FAILURES}
    if names:
        asked = limiter.current_limits
        _storage().give_back([each.key for each in asked if names.intersection(each.request_args)])


def _is_refusal(response: Response) -> bool:
    return response.status_code == 401


def _is_good_key() -> bool:
    """Whether the key given was good a day ago or later, if Redis can tell; its day begins anew."""
    if not api_key_given():
        return False
    g.is_good_key = bool(_ask_of_key(lambda redis, mark: redis.expire(mark, _GOOD_KEY_SECONDS)))
    return bool(g.is_good_key)


def _note_key(response: Response) -> None:
    """Remembers a key that was accepted, and forgets one that is good no more."""
    is_known = g.get("is_good_key", False)
    if is_known and _is_refusal(response):
        _ask_of_key(lambda redis, mark: redis.delete(mark))
    elif g.get("api_key") is not None and not is_known:
        _ask_of_key(lambda redis, mark: redis.set(mark, 1, ex=_GOOD_KEY_SECONDS))


def _ask_of_key(question: Callable[[Redis, str], object]) -> object:
    current, mark = extensions.get(), f"rl:good-key:{digest(api_key_given())}"
    return current.limits_guard.ask(lambda: question(current.redis, mark), lambda: None)


def _add_headers(response: Response) -> None:
    window = _nearest_wall()
    if window is None:
        return
    response.headers["RateLimit-Policy"] = f"{window.maximum};w={window.seconds}"
    response.headers["RateLimit-Limit"] = str(window.maximum)
    response.headers["RateLimit-Remaining"] = str(window.remaining)
    response.headers["RateLimit-Reset"] = str(window.reset_seconds)


def _nearest_wall() -> Window | None:
    breached: Window | None = g.get("breached_window")
    held = [each for each in windows_asked().values() if each.is_held]
    return breached or min(held, key=lambda each: each.remaining, default=None)


def _storage() -> WindowStorage:
    return cast("WindowStorage", limiter.storage)


# Of the whole process, as routes are declared before there is an application. Its own headers are
# off: they put a Retry-After on every answer, name no policy and give the reset as a date.
limiter = Limiter(
    client_network,
    application_limits=[_at_door(limit) for limit in DOOR],
    strategy="moving-window",
    storage_uri=f"{SCHEME}://",
    headers_enabled=False,
    on_breach=_refuse,
)
