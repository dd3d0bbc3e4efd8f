"""Gives each request an id and one line in the log."""

from __future__ import annotations

import logging
import re
import time
from uuid import uuid4

from flask import Response, g, request

from app import logs

logger = logging.getLogger(__name__)

HEADER = "X-Request-Id"
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def begin() -> None:
    """Takes over the caller's request id, or makes one when there is none that can be trusted."""
    g.started_at = time.perf_counter()
    given = request.headers.get(HEADER, "")
    logs.request_id.set(given if _ACCEPTED_ID.fullmatch(given) else str(uuid4()))


def finish(response: Response) -> Response:
    """Logs the request, without its query and body; probes only when debugging."""
    seconds = time.perf_counter() - g.started_at
    route = None if request.url_rule is None else request.url_rule.rule
    is_probe = request.blueprint == "health"
    if not is_probe:
        response.headers[HEADER] = logs.request_id.get() or ""
    logger.log(
        logging.DEBUG if is_probe else logging.INFO,
        "request",
        extra={
            "event": "http.request",
            "method": request.method,
            "route": route,
            "status": response.status_code,
            "milliseconds": round(seconds * 1000, 2),
            **_caller(),
        },
    )
    return response


def _caller() -> dict[str, str | None]:
    """Whose API key came with the request, where a good one did."""
    if "api_key" not in g:
        return {}
    return {"key_name": g.api_key.name, "key_prefix": g.api_key.prefix}


def end(_error: BaseException | None = None) -> None:
    """Forgets the id, so that the thread's next lines don't carry it."""
    logs.request_id.set(None)
