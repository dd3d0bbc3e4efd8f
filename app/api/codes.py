"""Login by a code that is mailed."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.api.answers import answer
from app.api.authentication import ANYONE
from app.api.errors import answer_error
from app.api.limits import AUTH_ADDRESS, AUTH_REQUEST, AUTH_SUBMIT, AUTH_SUBMIT_IDENTIFIER
from app.api.routing import route
from app.api.schemas.codes import (
    CodeFailure,
    CodeRefusal,
    CodeRequestBody,
    CodeRequestedAnswer,
    CodeSubmitBody,
    CodeTokenAnswer,
)
from app.errors import CodeRefusedError
from app.services import codes as service

codes = APIBlueprint("codes", __name__, url_prefix="/v1/auth", abp_tags=[Tag(name="Login")])

_FAILURES = dict.fromkeys((400, 413, 429, 500, 503), CodeFailure)


@route(
    codes,
    "POST",
    "/request-verification",
    authentication=ANYONE,
    responses={200: CodeRequestedAnswer, **_FAILURES},
    limits=(AUTH_ADDRESS, AUTH_REQUEST),
)
def request_verification(body: CodeRequestBody) -> Response:
    """Have a code mailed, in place of any that was mailed before

    Six digits, good for 15 minutes. The answer is the same for every address, and comes before
    the mail is sent.
    """
    service.request(body.identifier)
    return answer({"success": True, "message": "a code is on its way to this address"})


@route(
    codes,
    "POST",
    "/submit-verification",
    authentication=ANYONE,
    responses={200: CodeTokenAnswer, 401: CodeRefusal, **_FAILURES},
    limits=(AUTH_ADDRESS, AUTH_SUBMIT, AUTH_SUBMIT_IDENTIFIER),
)
def submit_verification(body: CodeSubmitBody) -> Response:
    """Exchange the code of the mail for a token

    The token is good for a day. A right code is used up; a wrong one takes one of five
    attempts. 401 tells in `reason` which of the two it was.
    """
    response = answer({"success": True, "token": service.submit(body.identifier, body.code)})
    response.headers["Cache-Control"] = "no-store"
    return response


@codes.errorhandler(Exception)
def answer_failure(error: Exception) -> Response:
    """Failures say `success: false` as well, and a refused code why, where clients look."""
    if isinstance(error, CodeRefusedError):
        return answer_error(error, success=False, reason=error.reason)
    return answer_error(error, success=False)
