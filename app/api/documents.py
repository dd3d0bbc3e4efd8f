"""The OpenAPI document, made from the code."""

from __future__ import annotations

from typing import cast

from flask import Response, current_app
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.openapi import OpenAPI

from app.api.answers import answer
from app.api.authentication import ANYONE
from app.api.limits import READING
from app.api.routing import route

documents = APIBlueprint("documents", __name__, doc_ui=False)


@route(
    documents,
    "GET",
    "/openapi.json",
    authentication=ANYONE,
    responses={},
    limits=(READING,),
)
def openapi() -> Response:
    """Describe the API"""
    return answer(cast("OpenAPI", current_app).api_doc)
