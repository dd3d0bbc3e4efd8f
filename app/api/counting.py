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

from flask import Flask, Response, current_app, g, request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit

from app import extensions
from app.api.callers import api_key_given, client_network, digest
from app.api.limits import DOOR, Counted, Limit, declared_by
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
    if g.get("api_key") is not None:
        extensions.get().good_keys.put(_good_key_mark(), _GOOD_KEY_SECONDS)
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
    is_declared = request.method != "OPTIONS" and limit in _declared()
    return limit.rate() if is_declared else ""


def _declared() -> Sequence[Limit]:
    view = current_app.view_functions.get(request.endpoint or "")
    return () if view is None else declared_by(view)


def _refuse(breached: RequestLimit) -> NoReturn:
    """Refuses the request, which keeps no place of this step; earlier ones were used."""
    _storage().give_back([each.key for each in limiter.current_limits])
    window = g.breached_window = windows_asked()[breached.key]
    seconds = window.reset_seconds
    raise RateLimitedError(
        f"too many requests; try again in {seconds} seconds", retry_after_seconds=seconds
    )


def _give_back_places_of_failures() -> None:
    names = {limit.name for limit in _declared() if limit.counted is Counted.FAILURES}
    if names:
        asked = limiter.current_limits
        _storage().give_back([each.key for each in asked if names.intersection(each.request_args)])


def _is_refusal(response: Response) -> bool:
    return response.status_code == 401


def _is_good_key() -> bool:
    return bool(api_key_given()) and extensions.get().good_keys.has(_good_key_mark())


def _good_key_mark() -> str:
    return f"rl:good-key:{digest(api_key_given())}"


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
