"""Turns what pydantic found wrong into the details that callers read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from app.errors import FieldError, InvalidInputError

# A body may hold a hundred thousand unknown fields; nobody reads so many complaints.
MAX_DETAILS = 100
_MAX_FIELD_LENGTH = 200

_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode text",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "string_too_long": "must have at most {max_length} characters",
}


def refuse(error: ValidationError) -> NoReturn:
    """Raises every problem of a request at once, as an error of the domain."""
    problems = error.errors(include_url=False, include_input=False)
    details = [describe(problem) for problem in problems[:MAX_DETAILS]]
    first = f"{details[0]['field']} {details[0]['message']}".strip()
    rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise InvalidInputError(f"{first}{rest}", details=details)


def describe(problem: Mapping[str, Any]) -> FieldError:
    """One problem as the caller reads it: the dotted path and what was expected there."""
    field = ".".join(str(part) for part in problem["loc"])
    return {"field": field[:_MAX_FIELD_LENGTH], "message": _message(problem)}


def _message(problem: Mapping[str, Any]) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_too_short":
        least = context["min_length"]
        return "must not be empty" if least == 1 else f"must have at least {least} characters"
    template = _MESSAGES.get(kind)
    return str(problem["msg"]) if template is None else template.format(**context)
