"""The header Idempotency-Key: a request that carries one may be sent again without harm."""

from __future__ import annotations

import re
from typing import Annotated, Any

from flask import Response, g, request
from pydantic import AfterValidator, BaseModel, WithJsonSchema

from app.api.schemas.fields import optional
from app.services.idempotency import RepeatableRequest

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
_VISIBLE_ASCII = re.compile(r"[!-~]{1,255}")


def _check_key(text: str) -> str:
    if not _VISIBLE_ASCII.fullmatch(text):
        raise ValueError("must be 1 to 255 visible ASCII characters, without spaces")
    return text


IdempotencyKey = Annotated[
    str,
    AfterValidator(_check_key),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}),
]


class IdempotencyHeader(BaseModel):
    """A key of the caller's choice, such as a UUID, good for a day."""

    idempotency_key: IdempotencyKey = optional(
        alias=HEADER,
        description="The same key with the same request is answered as the first time, with the "
        "header Idempotent-Replayed; with another request it is refused",
    )


def repeatable(header: IdempotencyHeader, content: dict[str, Any]) -> RepeatableRequest | None:
    """This request where it has a key, else None; `content` is what its answer depends on."""
    if not header.model_fields_set:
        return None
    return RepeatableRequest.of(
        key=header.idempotency_key,
        caller=_caller(),
        operation=f"{request.method} {request.url_rule}",
        content=content,
    )


def mark_replayed(response: Response) -> Response:
    """Says that an answer is that of an earlier request."""
    response.headers[REPLAYED_HEADER] = "true"
    return response


def _caller() -> str:
    """Who asks, as authentication has found out."""
    if "token_claims" in g:
        return f"subject {g.token_claims.get('sub')}"
    return f"key {g.api_key.prefix or g.api_key.name}"
