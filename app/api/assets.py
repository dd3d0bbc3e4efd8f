"""Style sheets of the pages that people see, served by ourselves."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint

from app.api.authentication import ANYONE
from app.api.limits import READING
from app.api.routing import route

assets = APIBlueprint("assets", __name__, url_prefix="/static", doc_ui=False)

_STYLE = Path(__file__).resolve().parents[1] / "static" / "certificate.css"


@route(
    assets,
    "GET",
    "/certificate.css",
    authentication=ANYONE,
    responses={},
    limits=(READING,),
)
def certificate_style() -> Response:
    """Style certificates"""
    style, version = _read()
    response = Response(style, content_type="text/css; charset=utf-8")
    # During an upgrade a page of one release may ask another release for its style.
    is_known = request.args.get("v") == version
    response.headers["Cache-Control"] = (
        "public, max-age=31536000, immutable" if is_known else "no-cache"
    )
    response.set_etag(version)
    response.make_conditional(request)
    return response


def certificate_style_url() -> str:
    """Where the style is; another one has another address."""
    return f"/static/certificate.css?v={_read()[1]}"


@cache
def _read() -> tuple[bytes, str]:
    """The style and a name for just these bytes."""
    style = _STYLE.read_bytes()
    return style, hashlib.sha256(style).hexdigest()[:16]
