"""Gives every error a status and the one body that all failures share."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response
from pymongo.errors import ConnectionFailure
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from werkzeug.exceptions import HTTPException

from app import logs
from app.api import pages
from app.api.answers import answer
from app.errors import (
    ConflictError,
    ForbiddenError,
    GoneError,
    IdempotencyKeyReusedError,
    InvalidInputError,
    NotFoundError,
    PatchProofError,
    PayloadTooLargeError,
    RateLimitedError,
    UnauthorizedError,
    UnavailableError,
)

logger = logging.getLogger(__name__)

STATUS_OF_ERROR: Mapping[type[PatchProofError], int] = {
    InvalidInputError: 400,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    GoneError: 410,
    PayloadTooLargeError: 413,
    IdempotencyKeyReusedError: 422,
    RateLimitedError: 429,
    PatchProofError: 500,
    UnavailableError: 503,
}
_OUTAGES = (ConnectionFailure, RedisConnectionError, RedisTimeoutError)
_OUTAGE_RETRY_SECONDS = 5


def register(app: Flask) -> None:
    """Makes every failure of the application answer with the shared body."""
    app.register_error_handler(Exception, _answer_reader)


def _answer_reader(error: Exception) -> Response:
    """The answer to an error: a page for people, the shared body for programs."""
    response = answer_error(error)
    if not pages.is_asked_for_page():
        return response
    message = response.get_json()["message"]
    return pages.show_problem(response, "That did not work", f"{message[:1].upper()}{message[1:]}.")


def answer_error(error: Exception, **members: Any) -> Response:
    """The answer to an error; `members` join its body at the top level.

    What the caller can't mend is logged with its traceback and told without internals.
    """
    if isinstance(error, HTTPException):
        return _answer_http_exception(error, members)
    if isinstance(error, PatchProofError):
        domain_error = error
    elif isinstance(error, _OUTAGES):
        domain_error = UnavailableError(
            "a part of the service is away; the same request may work later",
            retry_after_seconds=_OUTAGE_RETRY_SECONDS,
        )
    else:
        domain_error = PatchProofError("something went wrong here, not in your request")
    status = status_of(domain_error)
    if status >= 500:
        logger.error("request failed", exc_info=error, extra={"error_code": domain_error.code})
    return _answer_domain_error(domain_error, status, members)


def status_of(error: PatchProofError) -> int:
    """The HTTP status of an error: that of the nearest class which has one."""
    return next(STATUS_OF_ERROR[cls] for cls in type(error).__mro__ if cls in STATUS_OF_ERROR)


def _answer_domain_error(error: PatchProofError, status: int, members: dict[str, Any]) -> Response:
    # A bare PatchProofError is a failure without a class of its own.
    name = "InternalError" if type(error) is PatchProofError else type(error).__name__
    body = error_body(name, error.message, error.code, status)
    if error.details:
        body["error"]["details"] = error.details
    response = answer(body | members, status)
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def error_body(name: str, message: str, code: str, status: int) -> dict[str, Any]:
    """The body of every failure; the outer two members repeat the inner ones for older clients."""
    return {
        "error": {
            "name": name,
            "message": message,
            "code": code,
            "status": status,
            "requestId": logs.request_id.get(),
        },
        "code": code,
        "message": message,
    }


def _answer_http_exception(error: HTTPException, members: dict[str, Any]) -> Response:
    status = error.code or 500
    name, code, message = _HTTP_ERRORS.get(
        status, (f"{type(error).__name__}Error", f"http_{status}", error.name.lower())
    )
    response = answer(error_body(name, message, code, status) | members, status)
    for header, value in error.get_headers():
        if header not in ("Content-Type", "Content-Length"):
            response.headers[header] = value
    return response


_HTTP_ERRORS = {
    400: ("InvalidInputError", "invalid_request", "the request could not be read"),
    404: ("NotFoundError", "not_found", "there is nothing at this path"),
    405: ("MethodNotAllowedError", "method_not_allowed", "this path has no such method"),
    413: ("PayloadTooLargeError", "payload_too_large", "payload too large"),
}
