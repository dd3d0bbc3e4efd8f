"""Tells whoever watches the service whether people can log in by key."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.api.answers import answer, iso_timestamp
from app.api.authentication import METRICS_KEY
from app.api.errors import answer_error
from app.api.limits import PUBLIC_READING, SVD_CANARY
from app.api.routing import route
from app.api.schemas.svd import CanaryAnswer, CanaryFailure
from app.services import canary as service

canary = APIBlueprint("canary", __name__, url_prefix="/api/svd", abp_tags=[Tag(name="Login")])


@route(
    canary,
    "GET",
    "/canary",
    authentication=METRICS_KEY,
    responses={200: CanaryAnswer, 500: CanaryFailure, 503: CanaryFailure},
    limits=(PUBLIC_READING, SVD_CANARY),
)
def sing() -> Response:
    """Rehearse a login of nobody from end to end

    For watchers after a deployment: a challenge is made, signed, checked, derived by the
    signer and used up. Failures say `ok: false`.
    """
    sung = service.sing()
    response = answer(
        {
            "ok": True,
            "kid": sung.kid,
            "metrics": sung.events,
            "timestamp": iso_timestamp(sung.sung_at),
        }
    )
    response.headers["Cache-Control"] = "no-store"
    return response


@canary.errorhandler(Exception)
def answer_failure(error: Exception) -> Response:
    """A failure says `ok: false` as well, where the watchers look."""
    response = answer_error(error, ok=False)
    response.headers["Cache-Control"] = "no-store"
    return response
