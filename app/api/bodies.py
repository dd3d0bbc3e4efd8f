"""Reads request bodies: JSON objects of bounded size that every reader reads alike."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from flask import Request, current_app

from app.errors import InvalidInputError, PayloadTooLargeError

MAX_BODY_BYTES = 1024 * 1024


class InvalidJsonError(InvalidInputError):
    code = "invalid_json"


class JsonRequest(Request):
    """A request whose JSON is always read the strict way, whoever asks for it."""

    def get_json(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The body as an object; the options of Flask's own method have no effect."""
        view = current_app.view_functions.get(self.endpoint or "")
        return read_json_object(self, may_be_empty=getattr(view, "may_be_empty", False))


def read_json_object(request: Request, *, may_be_empty: bool) -> dict[str, Any]:
    """The JSON object in the body; no body is an empty object where that is allowed.

    Raises:
        PayloadTooLargeError: more bytes than MAX_BODY_BYTES, declared or counted.
        InvalidJsonError: no JSON (RFC 8259, UTF-8), a name twice in one object, no object.
        InvalidInputError: another Content-Type.
    """
    raw = request.get_data(cache=False)
    # A chunked body is cut at the framework's limit, one byte further, instead of being refused.
    if len(raw) > MAX_BODY_BYTES:
        raise PayloadTooLargeError(f"the body may have at most {MAX_BODY_BYTES} bytes")
    if not raw and may_be_empty:
        return {}
    if request.mimetype != "application/json":
        raise InvalidInputError.for_field("Content-Type", "must be application/json")
    value = _parse(raw)
    if not isinstance(value, dict):
        raise InvalidInputError("the body must be a JSON object")
    return value


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique_members, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError:
        raise InvalidJsonError("the body is not UTF-8") from None
    except RecursionError:
        raise InvalidJsonError("the body is nested too deeply") from None
    except ValueError as error:
        raise InvalidJsonError(f"the body is not valid JSON: {error}") from None


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has a member twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
