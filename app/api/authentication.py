"""Who may call a route: each route declares one way, and it is checked before its body is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import current_app, g, request

from app import extensions
from app.domain.api_keys import SCOPE_MEANINGS, Scope
from app.errors import MissingTokenError
from app.services import api_keys, sessions

SECURITY_SCHEMES: dict[str, Any] = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        # OpenAPI has no scopes for keys; since 3.1 a requirement may name roles, so each does.
        "description": "A key opens what its scopes name, each operation names the one it needs: "
        + "; ".join(f"`{scope}` to {meaning}" for scope, meaning in SCOPE_MEANINGS.items()),
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The token of a login: by key, good for 15 minutes, or by a mailed code, "
        "good for a day. The word Bearer in just these letters.",
    },
}
_BEARER = "Bearer "


@dataclass(frozen=True)
class Authentication:
    """A way to authenticate: its scheme in the OpenAPI document (None for anyone) and its check.

    `scope` is what a key must open. Whether an optional one is asked for is a matter of settings.
    """

    scheme: str | None
    check: Callable[[], None]
    is_optional: bool = False
    scope: Scope | None = None

    @property
    def security(self) -> list[dict[str, list[str]]]:
        """The security requirement as an OpenAPI operation writes it."""
        nothing: list[dict[str, list[str]]] = [{}] if self.is_optional else []
        roles = [] if self.scope is None else [self.scope.value]
        return nothing if self.scheme is None else [*nothing, {self.scheme: roles}]


def _check_nothing() -> None:
    """Lets anyone in."""


def _check_key(scope: Scope) -> None:
    # WSGI hands headers over as Latin-1 text, and several of a name as one with commas.
    given = request.headers.get("x-api-key", "").encode("latin-1", "replace")
    g.api_key = api_keys.authenticate(given)
    g.api_key.require(scope)


def _check_metrics_key_if_required() -> None:
    if extensions.get().settings.metrics_require_api_key:
        _check_key(Scope.METRICS)


def _check_bearer_token(*, may_be_erased: bool = False) -> None:
    header = request.headers.get("Authorization", "")
    token = header.removeprefix(_BEARER).strip()
    if not header.startswith(_BEARER) or not token:
        raise MissingTokenError("the header Authorization must be: Bearer <token>")
    g.token_claims = sessions.authenticate(token, may_be_erased=may_be_erased)


def _key(scope: Scope) -> Authentication:
    return Authentication("apiKey", partial(_check_key, scope), scope=scope)


ANYONE = Authentication(None, _check_nothing)
API_KEY = _key(Scope.PATCHES_WRITE)
ADMIN_KEY = _key(Scope.ADMIN)
POS_KEY = _key(Scope.POS)
METRICS_KEY = _key(Scope.METRICS)
METRICS_KEY_IF_REQUIRED = Authentication(
    "apiKey", _check_metrics_key_if_required, is_optional=True, scope=Scope.METRICS
)
BEARER = Authentication("bearer", _check_bearer_token)
# For asking what became of one's erasure, which has ended every token from before it.
BEARER_EVEN_ERASED = Authentication("bearer", partial(_check_bearer_token, may_be_erased=True))


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
