"""Style sheets and scripts of the pages that people see, served by ourselves."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel

from app.api.authentication import ANYONE
from app.api.limits import READING
from app.api.routing import route
from app.errors import NotFoundError

assets = APIBlueprint("assets", __name__, url_prefix="/static", doc_ui=False)

_STYLE = "text/css; charset=utf-8"
_SCRIPT = "text/javascript; charset=utf-8"
_OURS = files("app") / "static"
_SWAGGER = files("flask_openapi3_swagger") / "templates" / "swagger"
# Names are looked up here and nowhere else, so no path leads out.
_ASSETS = {
    "certificate.css": (_OURS / "certificate.css", _STYLE),
    "documentation.css": (_OURS / "documentation.css", _STYLE),
    "documentation.js": (_OURS / "documentation.js", _SCRIPT),
    "swagger-ui.css": (_SWAGGER / "css" / "swagger-ui.css", _STYLE),
    "swagger-ui-bundle.js": (_SWAGGER / "js" / "swagger-ui-bundle.js", _SCRIPT),
}


class AssetPath(BaseModel):
    name: str


@dataclass(frozen=True)
class _Asset:
    """A file, and a name for just these bytes."""

    content: bytes
    compressed: bytes
    content_type: str
    version: str


@route(
    assets,
    "GET",
    "/<name>",
    authentication=ANYONE,
    responses={},
    limits=(READING,),
)
def serve(path: AssetPath) -> Response:
    """Serve a style sheet or a script"""
    if path.name not in _ASSETS:
        raise NotFoundError("there is nothing at this path")
    asset = _read(path.name)
    is_compressed = request.accept_encodings.best_match(["gzip"]) is not None
    response = Response(
        asset.compressed if is_compressed else asset.content, content_type=asset.content_type
    )
    if is_compressed:
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    # During an upgrade a page of one release may ask another release for its style.
    is_known = request.args.get("v") == asset.version
    response.headers["Cache-Control"] = (
        "public, max-age=31536000, immutable" if is_known else "no-cache"
    )
    response.set_etag(asset.version, weak=is_compressed)
    response.make_conditional(request)
    return response


def url_of(name: str) -> str:
    """Where an asset is; other bytes have another address."""
    return f"/static/{name}?v={_read(name).version}"


@cache
def _read(name: str) -> _Asset:
    path, content_type = _ASSETS[name]
    content = path.read_bytes()
    version = hashlib.sha256(content).hexdigest()[:16]
    return _Asset(content, gzip.compress(content, mtime=0), content_type, version)
