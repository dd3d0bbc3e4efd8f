"""Completes the OpenAPI document with what its library can't draw from the code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.api.examples import EXAMPLES

Operation = dict[str, Any]

_MEANINGS = {
    "200": "Done.",
    "201": "Made.",
    "202": "Kept for good, and anchored without further calls.",
    "301": "It is at the path of the header Location.",
    "304": "The reader has this content already.",
    "400": "The request can never be accepted as it is. `error.details` names what is wrong.",
    "401": "Nobody could be recognised: the credential, signature or code is missing or wrong.",
    "403": "Who asks is known, and may not do this.",
    "404": "There is no such thing.",
    "409": "What is asked contradicts what stands; asking again unchanged does not help.",
    "410": "It was here, and its people had it erased.",
    "413": "The body is larger than this path takes.",
    "422": "The Idempotency-Key came with another request before.",
    "429": "Too many requests; the header Retry-After says when to come again.",
    "500": "The fault is here. Nothing of the request is half done that is not finished later.",
    "503": "Something that this needs is away; the same request may work later.",
}
# What every answer of a kind carries, by the name of the header.
_HEADERS: Mapping[str, tuple[str, str]] = {
    "X-Request-Id": ("string", "Names this request in the log; the caller's own where one came."),
    "RateLimit-Policy": ("string", "The limit nearest to its end: how many in how many seconds."),
    "RateLimit-Limit": ("integer", "Requests that the window takes."),
    "RateLimit-Remaining": ("integer", "Requests that are left in it."),
    "RateLimit-Reset": ("integer", "Seconds until the next window."),
    "Retry-After": ("integer", "Seconds to wait before asking again."),
    "Location": ("string", "Where to ask what became of it, or where it is."),
    "Idempotent-Replayed": ("string", "`true` where this is the answer to an earlier request."),
    "ETag": ("string", "Names this content; send it as If-None-Match to get 304 without it."),
    "Cache-Control": ("string", "Who may keep the answer, and for how long."),
    "Content-Disposition": ("string", "The name of the file."),
}
_RATE_LIMITS = ("RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_PROBES = {"/__ping", "/health", "/ready"}
_NEVER_KEPT = ("Cache-Control",)
# What else single routes send with their successes.
_HEADERS_OF_ROUTES: Mapping[str, tuple[str, ...]] = {
    "POST /v1/patches": ("Location", "Idempotent-Replayed"),
    "POST /v1/patches/{txid}/transfer-ownership": ("Location", "Idempotent-Replayed"),
    "POST /v1/pos/claim-intent": ("Location",),
    "POST /v1/auth/submit-verification": _NEVER_KEPT,
    "POST /api/svd/register-challenge": _NEVER_KEPT,
    "POST /api/svd/begin": _NEVER_KEPT,
    "POST /api/svd/complete": _NEVER_KEPT,
    "GET /api/svd/kid": _NEVER_KEPT,
    "GET /api/svd/canary": _NEVER_KEPT,
    "GET /metrics": _NEVER_KEPT,
    "GET /internal/metrics": _NEVER_KEPT,
    "GET /v1/privacy/export": _NEVER_KEPT,
    "DELETE /v1/privacy/delete": _NEVER_KEPT,
    "POST /v1/privacy/keys": _NEVER_KEPT,
    "GET /certificates/certificate.html": ("ETag", "Cache-Control"),
    "GET /certificates/{txid}": ("ETag", "Cache-Control"),
    "GET /certificates/pdf": ("ETag", "Cache-Control", "Content-Disposition"),
    "GET /docs": ("Location",),
    "GET /docs/": ("ETag", "Cache-Control"),
    "GET /docs/md/{name}": ("ETag", "Cache-Control"),
}
# Limits of refused credentials alone say nothing until they are reached.
_SILENT_LIMITS = {"refused-key"}
_REFUSAL = {
    "error": {
        "name": "NotFoundError",
        "message": "there is nothing at this path",
        "code": "not_found",
        "status": 404,
        "requestId": "5b0c7a3e-3c55-4c6e-9d36-5b4f0f2a7c11",
    },
    "code": "not_found",
    "message": "there is nothing at this path",
}


def complete(document: dict[str, Any]) -> None:
    """Adds meanings, headers and examples to a document, in place.

    Raises:
        KeyError: a route answers a status that has no meaning here yet.
    """
    components = document["components"]
    for route, operation in _operations(document):
        if "description" in operation:
            # The library joins the lines of a docstring for HTML.
            operation["description"] = operation["description"].replace("<br/>", "\n").strip()
        _complete_responses(route, operation)
        _tell_whether_body_is_needed(operation, components["schemas"])
        _add_examples(operation, EXAMPLES.get(route, {}))
    components["headers"] = {
        name: {"description": text, "schema": {"type": kind}}
        for name, (kind, text) in _HEADERS.items()
    }
    components["schemas"]["ErrorBody"]["examples"] = [_REFUSAL]


def _complete_responses(route: str, operation: Operation) -> None:
    is_tagged = False
    for status, response in operation["responses"].items():
        response["description"] = _MEANINGS[status]
        names = _headers_of(route, status, operation, response)
        if names:
            response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        is_tagged |= "ETag" in names
    if is_tagged:
        operation["responses"]["304"] = {"description": _MEANINGS["304"]}


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, Operation]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def _headers_of(
    route: str, status: str, operation: Operation, response: Mapping[str, Any]
) -> list[str]:
    names = [] if route.partition(" ")[2] in _PROBES else ["X-Request-Id"]
    if status in ("429", "503"):
        names.append("Retry-After")
    if status == "429" or set(operation.get("x-limits", ())) - _SILENT_LIMITS:
        names += _RATE_LIMITS
    if int(status) < 400:
        names += _HEADERS_OF_ROUTES.get(route, ())
        is_json = "application/json" in response.get("content", {})
        names += ["ETag"] if is_json and status == "200" and route.startswith("GET ") else []
    return names


def _tell_whether_body_is_needed(operation: Operation, schemas: Mapping[str, Any]) -> None:
    """A body in which nothing is required may be left out."""
    if "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        schema = schemas[content["schema"]["$ref"].rpartition("/")[2]]
        operation["requestBody"]["required"] = bool(schema.get("required"))


def _add_examples(operation: Operation, examples: Mapping[str, Any]) -> None:
    for part, example in examples.items():
        holder = operation["requestBody"] if part == "request" else operation["responses"][part]
        (content,) = holder["content"].values()
        content["example"] = example
