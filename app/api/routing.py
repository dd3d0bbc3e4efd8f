"""How a route is declared: who may call it and what it answers, in the code and in the document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from flask_openapi3.blueprint import APIBlueprint
from werkzeug.routing import BaseConverter

from app.api.authentication import ANYONE, Authentication
from app.api.counting import counted
from app.api.limits import REFUSED_KEY, Limit
from app.api.schemas.errors import ErrorBody

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

P = ParamSpec("P")
R = TypeVar("R")


class UidConverter(BaseConverter):
    """A uid_tag_id in a path: any text, an escaped slash or line break included."""

    regex = r"(?s:.+?)"
    part_isolating = False


def without_trailing_slash(wsgi_app: WSGIApplication) -> WSGIApplication:
    """Answers a path with a slash at its end like the one without; one page has its own with it."""

    def middleware(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.endswith("/") and path != "/docs/":
            environ["PATH_INFO"] = path.rstrip("/") or "/"
        return wsgi_app(environ, start_response)

    return middleware


def route(  # noqa: PLR0913 - each says one thing about the route
    blueprint: APIBlueprint,
    method: str,
    rule: str,
    *,
    authentication: Authentication,
    responses: Mapping[int, Any],
    errors: Iterable[int] = (),
    may_be_empty: bool = False,
    limits: Sequence[Limit] = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Adds a view to a blueprint.

    A request to it may leave its body out where `may_be_empty` says so.
    `responses` are the models of its successes by status, `errors` the statuses of its failures,
    `limits` how often it may be called; what any route of its kind has is added here.
    """
    statuses = {500, *errors}
    if authentication is not ANYONE:
        # Who has logged out is known to Redis alone, which keys live to the database.
        statuses |= {401, 503}
    if authentication.scope is not None:
        statuses.add(403)
        limits = (REFUSED_KEY, *limits)
    if limits:
        statuses.add(429)
    if any(limit.is_closed for limit in limits):
        statuses.add(503)
    documented = {**dict.fromkeys(sorted(statuses), ErrorBody), **responses}
    register = getattr(blueprint, method.lower())(
        rule,
        security=authentication.security,
        responses=documented,
        openapi_extensions={"x-limits": [limit.name for limit in limits]} if limits else {},
    )

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        limited = counted(view, limits)
        # Set before registering: the wrapper that Flask calls copies the view's attributes.
        limited.authentication = authentication  # type: ignore[attr-defined]
        limited.may_be_empty = may_be_empty  # type: ignore[attr-defined]
        limited.limits = limits  # type: ignore[attr-defined]
        register(limited)
        return limited

    return decorate
