"""Routes that do nothing but stand behind limits, and a client that comes from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field
from werkzeug.test import TestResponse

from app import create_app, extensions
from app.api.answers import answer
from app.api.authentication import ANYONE, API_KEY
from app.api.limits import (
    AUTH_ADDRESS,
    AUTH_REQUEST,
    AUTH_SUBMIT,
    AUTH_SUBMIT_IDENTIFIER,
    CERTIFICATE_PDF,
    PUBLIC,
    PUBLIC_READING,
    READING,
    SVD_BEGIN,
    WRITING,
)
from app.api.routing import route
from app.errors import UnauthorizedError

RIGHT_CODE = "123456"


ANYBODY: dict[str, Any] = {"authentication": ANYONE, "responses": {}}


class UserBody(BaseModel):
    """Unknown fields are dropped, as on the routes of the contract."""

    user_id: str = Field(alias="userId", min_length=1)


class IdentifierBody(BaseModel):
    identifier: str = Field(min_length=3)
    code: str = ""


def make_blueprint() -> APIBlueprint:
    """A blueprint for one application."""
    probes = APIBlueprint("probes", __name__, url_prefix="/probe")
    _add_logins(probes)
    _add_others(probes)
    return probes


def _add_logins(probes: APIBlueprint) -> None:
    @route(probes, "POST", "/begin", limits=(PUBLIC, SVD_BEGIN), **ANYBODY)
    def begin(body: UserBody) -> Response:
        return answer({})

    @route(probes, "GET", "/kid", limits=(PUBLIC_READING,), **ANYBODY)
    def kid() -> Response:
        return answer({})

    @route(probes, "POST", "/request", limits=(AUTH_ADDRESS, AUTH_REQUEST), **ANYBODY)
    def request_code(body: IdentifierBody) -> Response:
        return answer({})

    @route(
        probes,
        "POST",
        "/submit",
        limits=(AUTH_ADDRESS, AUTH_SUBMIT, AUTH_SUBMIT_IDENTIFIER),
        **ANYBODY,
    )
    def submit(body: IdentifierBody) -> Response:
        if body.code != RIGHT_CODE:
            raise UnauthorizedError("wrong code")
        return answer({})


def _add_others(probes: APIBlueprint) -> None:
    @route(probes, "GET", "/free", **ANYBODY)
    def free() -> Response:
        return answer({})

    @route(probes, "GET", "/read", limits=(READING,), **ANYBODY)
    def read() -> Response:
        return answer({})

    @route(probes, "GET", "/pdf", limits=(READING, CERTIFICATE_PDF), **ANYBODY)
    def pdf() -> Response:
        return answer({})

    @route(probes, "POST", "/write", authentication=API_KEY, responses={}, limits=(WRITING,))
    def write() -> Response:
        return answer({})

    @route(probes, "GET", "/fail", limits=(READING,), **ANYBODY)
    def fail() -> Response:
        raise ZeroDivisionError("a defect")


class Probes:
    """The application in this process, asked from addresses of the test's choice."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.app = create_app(environ=environ)
        self.app.register_api(make_blueprint())
        self.key = environ["API_KEY"]

    def get(self, path: str, *, address: str = "192.0.2.1", **headers: str) -> TestResponse:
        return self._send("GET", path, address, headers)

    def post(
        self, path: str, body: Any = None, *, address: str = "192.0.2.1", **headers: str
    ) -> TestResponse:
        return self._send("POST", path, address, headers, json=body)

    def write(self, key: str | None = None, **options: Any) -> TestResponse:
        """Uses an API key, the right one unless told otherwise."""
        return self.post("/probe/write", **{"x-api-key": key or self.key}, **options)

    def submit(self, code: str = "000000", **options: Any) -> TestResponse:
        """Tries a code, a wrong one unless told otherwise."""
        more = options.pop("more", {})
        identifier = options.pop("identifier", "a@b.example")
        return self.post(
            "/probe/submit", {"identifier": identifier, "code": code, **more}, **options
        )

    @staticmethod
    def close() -> None:
        current = extensions.get()
        current.redis.close()
        current.chain.close()
        current.kms.close()
        current.database.close()

    def _send(
        self, method: str, path: str, address: str, headers: Mapping[str, str], **options: Any
    ) -> TestResponse:
        return self.app.test_client().open(
            path,
            method=method,
            headers=dict(headers),
            environ_overrides={"REMOTE_ADDR": address},
            **options,
        )
