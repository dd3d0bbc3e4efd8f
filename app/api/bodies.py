"""Reads request bodies: JSON objects of bounded size that every reader reads alike."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from flask import Request, current_app
from werkzeug.exceptions import RequestEntityTooLarge

from app.errors import InvalidInputError, PayloadTooLargeError

MAX_BODY_BYTES = 1024 * 1024
# Logins are small and open to anyone.
MAX_LOGIN_BODY_BYTES = 32 * 1024
_LOGIN_PREFIX = "/api/svd/"


class InvalidJsonError(InvalidInputError):
    code = "invalid_json"


class JsonRequest(Request):
    """A request whose JSON is always read the strict way, whoever asks for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        is_login = self.path.startswith(_LOGIN_PREFIX)
        self.max_body_bytes = MAX_LOGIN_BODY_BYTES if is_login else MAX_BODY_BYTES
        # One byte more than is allowed: a chunked body is cut here, and what was cut shows its
        # length.
        self.max_content_length = self.max_body_bytes + 1

    def get_json(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The body as an object; the options of Flask's own method have no effect."""
        view = current_app.view_functions.get(self.endpoint or "")
        return read_json_object(self, may_be_empty=getattr(view, "may_be_empty", False))

    def read_bounded(self) -> bytes:
        """The bytes of the body; chunks are counted as they are.

        Raises:
            PayloadTooLargeError: more than this path takes, declared or counted.
        """
        try:
            raw = self.get_data(cache=False)
        except RequestEntityTooLarge:
            raise self._too_large() from None
        if len(raw) > self.max_body_bytes:
            raise self._too_large()
        return raw

    def _too_large(self) -> PayloadTooLargeError:
        return PayloadTooLargeError(
            f"payload too large: the body may have at most {self.max_body_bytes} bytes"
        )


def read_json_object(request: JsonRequest, *, may_be_empty: bool) -> dict[str, Any]:
    """The JSON object in the body; no body is an empty object where that is allowed.

    Raises:
        PayloadTooLargeError: see `read_bounded`.
        InvalidJsonError: no JSON (RFC 8259, UTF-8), a name twice in one object, no object.
        InvalidInputError: another Content-Type.
    """
    raw = request.read_bounded()
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
