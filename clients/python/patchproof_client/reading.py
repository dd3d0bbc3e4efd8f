"""Reads answers: each member has the type that the contract gives it, or the answer is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from patchproof_client.errors import ApiError, FieldProblem, UnexpectedAnswerError, family_of

ValueT = TypeVar("ValueT")

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_MAX_WORDS = 300
_MAX_DETAILS = 100


@dataclass(frozen=True)
class Reply:
    """A whole answer as it came over the wire."""

    status: int
    body: bytes = field(repr=False)
    request_id: str
    retry_after_seconds: float | None = None
    is_replayed: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def members(self) -> Members:
        """The JSON object of a success.

        Raises:
            UnexpectedAnswerError: it is something else.
        """
        value = parse_object(self.body)
        if value is None:
            raise self.unexpected("the answer is not a JSON object")
        return Members(value, self)

    def unexpected(self, reason: str) -> UnexpectedAnswerError:
        return UnexpectedAnswerError(reason, status=self.status, request_id=self.request_id)


@dataclass(frozen=True)
class Members:
    """The members of a JSON object, asked for by name and type. Others are passed over."""

    values: Mapping[str, Any] = field(repr=False)
    reply: Reply
    path: str = ""

    def text(self, name: str) -> str:
        return self._take(name, str, "a string")

    def optional_text(self, name: str) -> str | None:
        return None if self.values.get(name) is None else self.text(name)

    def boolean(self, name: str) -> bool:
        return self._take(name, bool, "true or false")

    def optional_integer(self, name: str) -> int | None:
        if self.values.get(name) is None:
            return None
        value = self._take(name, int, "an integer")
        # In Python a boolean is an integer.
        if isinstance(value, bool):
            self._refuse(name, "an integer")
        return value

    def choice(self, name: str, choices: tuple[ValueT, ...]) -> ValueT:
        """One of a few texts."""
        found = self.text(name)
        if found not in choices:
            self._refuse(name, f"one of {', '.join(map(str, choices))}")
        return choices[choices.index(found)]

    def object(self, name: str) -> Members:
        value = self._take(name, dict, "an object")
        return Members(value, self.reply, f"{self.path}{name}.")

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._take(name, list, "a list")
        if not all(isinstance(value, str) for value in values):
            self._refuse(name, "a list of strings")
        return tuple(values)

    def objects(self, name: str) -> Iterator[Members]:
        for index, value in enumerate(self._take(name, list, "a list")):
            if not isinstance(value, dict):
                self._refuse(f"{name}.{index}", "an object")
            yield Members(value, self.reply, f"{self.path}{name}.{index}.")

    def matching(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        """A text of a certain shape."""
        if not pattern.fullmatch(self.text(name)):
            self._refuse(name, expected)
        return self.text(name)

    def _take(self, name: str, kind: type[ValueT], expected: str) -> ValueT:
        # What is refused is in no local variable and in no message: it may be a token.
        if not isinstance(self.values.get(name), kind):
            self._refuse(name, expected)
        value: ValueT = self.values[name]
        return value

    def _refuse(self, name: str, expected: str) -> NoReturn:
        raise self.reply.unexpected(f"{self.path}{name} in the answer is not {expected}")


def parse_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in a body; None where there is something else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_refusal(reply: Reply) -> ApiError | UnexpectedAnswerError:
    """What an answer says that is no success; each of the contract's shapes is understood."""
    body = parse_object(reply.body)
    if reply.status < 400 or body is None:
        return reply.unexpected("the answer is not the service's")
    inner = body.get("error")
    inner = inner if isinstance(inner, dict) else {}
    code = _first(_code, body.get("code"), inner.get("code"), body.get("error"), body.get("reason"))
    message = _first(words, body.get("message"), inner.get("message"), body.get("error"))
    code = code or f"http_{reply.status}"
    return family_of(reply.status, code)(
        reply.status,
        code,
        message or "no reason given",
        request_id=reply.request_id,
        details=_details(inner.get("details")),
        retry_after_seconds=reply.retry_after_seconds,
    )


def words(value: object) -> str | None:
    """A server's sentence on one line, cut short; None for anything else."""
    if not isinstance(value, str):
        return None
    return _UNPRINTABLE.sub(" ", value).strip()[:_MAX_WORDS] or None


def _code(value: object) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _first(read: Callable[[object], str | None], *candidates: object) -> str | None:
    return next((found for each in candidates if (found := read(each)) is not None), None)


def _details(value: object) -> tuple[FieldProblem, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(_problem(each) for each in value[:_MAX_DETAILS])


def _problem(value: object) -> FieldProblem:
    if isinstance(value, dict):
        return FieldProblem(words(value.get("field")) or "", words(value.get("message")) or "")
    return FieldProblem("", words(value) or "")
