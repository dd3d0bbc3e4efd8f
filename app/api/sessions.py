"""Ends the login of whoever asks."""

from __future__ import annotations

from flask import Response, g
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.api.answers import answer
from app.api.authentication import BEARER
from app.api.limits import WRITING
from app.api.routing import route
from app.api.schemas.sessions import LoggedOut
from app.services import sessions as service

sessions = APIBlueprint("sessions", __name__, url_prefix="/v1/auth", abp_tags=[Tag(name="Login")])


@route(
    sessions,
    "POST",
    "/logout",
    authentication=BEARER,
    responses={200: LoggedOut},
    errors=(400,),
    limits=(WRITING,),
)
def log_out() -> Response:
    """End the token that is sent, whichever way its holder had logged in

    It is refused from then on, everywhere.
    """
    service.end(g.token_claims)
    return answer({"success": True, "message": "you are logged out"})
