"""Who may call a route: each route declares one way, and it is checked before its body is read."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import current_app, g, request

from app import extensions
from app.errors import MissingTokenError, UnauthorizedError
from app.services import sessions

SECURITY_SCHEMES: dict[str, Any] = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
}
_BEARER = "Bearer "


@dataclass(frozen=True)
class Authentication:
    """A way to authenticate: its scheme in the OpenAPI document (None for anyone) and its check.

    Whether an optional one is asked for is a matter of settings.
    """

    scheme: str | None
    check: Callable[[], None]
    is_optional: bool = False

    @property
    def security(self) -> list[dict[str, list[str]]]:
        """The security requirement as an OpenAPI operation writes it."""
        nothing: list[dict[str, list[str]]] = [{}] if self.is_optional else []
        return nothing if self.scheme is None else [*nothing, {self.scheme: []}]


def _check_nothing() -> None:
    """Lets anyone in."""


def _check_api_key() -> None:
    expected = extensions.get().settings.api_key.get_secret_value().encode()
    # WSGI hands headers over as Latin-1 text.
    given = request.headers.get("x-api-key", "").encode("latin-1", "replace")
    if not hmac.compare_digest(given, expected):
        raise UnauthorizedError("the header x-api-key is missing or wrong")


def _check_metrics_key() -> None:
    if extensions.get().settings.metrics_require_api_key:
        _check_api_key()


def _check_bearer_token() -> None:
    header = request.headers.get("Authorization", "")
    token = header.removeprefix(_BEARER).strip()
    if not header.startswith(_BEARER) or not token:
        raise MissingTokenError("the header Authorization must be: Bearer <token>")
    g.token_claims = sessions.authenticate(token)


ANYONE = Authentication(None, _check_nothing)
API_KEY = Authentication("apiKey", _check_api_key)
METRICS_KEY = Authentication("apiKey", _check_metrics_key, is_optional=True)
BEARER = Authentication("bearer", _check_bearer_token)


def declared_by(view: Callable[..., Any]) -> Authentication:
    """The authentication that a view was declared with.

    Raises:
        RuntimeError: it declares none, which is a defect: the request must not pass.
    """
    declared: Authentication | None = getattr(view, "authentication", None)
    if declared is None:
        raise RuntimeError(f"{view.__name__} does not declare its authentication")
    return declared


def enforce() -> None:
    """Checks the caller of the matched route; a preflight carries no credentials."""
    if request.endpoint is None or request.method == "OPTIONS":
        return
    declared_by(current_app.view_functions[request.endpoint]).check()
