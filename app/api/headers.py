"""Headers that every answer carries: security, origins, entity tags."""

from __future__ import annotations

from flask import Response, request

from app import extensions

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
STRICT_TRANSPORT_SECURITY = "max-age=15768000"
# What pages of other origins may read of an answer besides its type and caching.
EXPOSED_HEADERS = (
    "Idempotent-Replayed",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Policy",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-Id",
)
_ALLOWED_METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE"


def add_security_headers(response: Response) -> Response:
    """Adds what a view has not set itself; strict transport only where TLS is a given."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if extensions.get().settings.is_production:
        response.headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY)
    return response


def add_cors_headers(response: Response) -> Response:
    """Lets pages of allowed origins read the answer; others get no header, and no error."""
    response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if origin is None or not _is_allowed(origin):
        return response
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED_HEADERS)
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = _ALLOWED_METHODS
        response.vary.add("Access-Control-Request-Headers")
        requested = request.headers.get("Access-Control-Request-Headers")
        if requested:
            response.headers["Access-Control-Allow-Headers"] = requested
    return response


def add_entity_tag(response: Response) -> Response:
    """Tags JSON that was read, and answers 304 to a reader who has it already."""
    if request.method in ("GET", "HEAD") and response.status_code == 200 and response.is_json:
        response.add_etag(weak=True)
        response.make_conditional(request)
    return response


def _is_allowed(origin: str) -> bool:
    settings = extensions.get().settings
    return not settings.is_production or origin in settings.cors_allowed_origins
