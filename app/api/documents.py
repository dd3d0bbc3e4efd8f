"""What callers read: the OpenAPI document, a page that shows it, and the pages of docs/api."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Response, current_app, redirect, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel

from app import extensions
from app.api import document_texts, pages
from app.api.answers import answer
from app.api.assets import url_of
from app.api.authentication import ANYONE
from app.api.limits import READING
from app.api.routing import route
from app.errors import NotFoundError

documents = APIBlueprint("documents", __name__, abp_tags=[Tag(name="Documents")])

_MADE = "patchproof.document"
_making = Lock()
_PAGES = Path(__file__).resolve().parents[2] / "docs" / "api"
_OBJECT = {"content": {"application/json": {"schema": {"type": "object"}}}}
_HTML = {"content": {"text/html": {"schema": {"type": "string"}}}}
_MARKDOWN = {"content": {"text/markdown": {"schema": {"type": "string"}}}}


class PagePath(BaseModel):
    name: str


@route(
    documents,
    "GET",
    "/openapi.json",
    authentication=ANYONE,
    responses={200: _OBJECT},
    limits=(READING,),
)
def openapi() -> Response:
    """Describe the API

    This document: OpenAPI 3.1, made from the code that answers.
    """
    return answer(_document(cast("OpenAPI", current_app)))


@route(
    documents,
    "GET",
    "/docs",
    authentication=ANYONE,
    responses={301: None},
    errors=(404,),
    limits=(READING,),
)
def find_documentation() -> Response:
    """Lead to the documentation

    Which is at `/docs/`.
    """
    _require_documentation()
    # Werkzeug's own would be 308, and would spell the host that the caller said.
    return cast("Response", redirect("/docs/", 301))


@route(
    documents,
    "GET",
    "/docs/",
    authentication=ANYONE,
    responses={200: _HTML},
    errors=(404,),
    limits=(READING,),
)
def show_documentation() -> Response:
    """Show the documentation

    Swagger UI with this document, and links to the pages of `/docs/md`. Everything on the page
    comes from this service. 404 where the operator has set `ENABLE_SWAGGER_DOCS=0`.
    """
    _require_documentation()
    page = pages.render(
        "documentation/swagger.html",
        styles=[url_of("swagger-ui.css"), url_of("documentation.css")],
        scripts=[url_of("swagger-ui-bundle.js"), url_of("documentation.js")],
        names=sorted(_texts()),
    )
    response = pages.as_page(Response(page))
    response.headers["Content-Security-Policy"] = _content_security_policy()
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response


@route(
    documents,
    "GET",
    "/docs/md/<name>",
    authentication=ANYONE,
    responses={200: _MARKDOWN},
    errors=(404,),
    limits=(READING,),
)
def show_page(path: PagePath) -> Response:
    """Hand out a page of the documentation as Markdown

    `contract.md` holds every route, status and header by numbered section, `errors.md` every code
    of an error and what to do about it.
    """
    _require_documentation()
    text = _texts().get(path.name)
    if text is None:
        raise NotFoundError("there is no page of this name; /docs/ lists them")
    response = Response(text, content_type="text/markdown; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response


def _require_documentation() -> None:
    if not extensions.get().settings.enable_swagger_docs:
        raise NotFoundError("there is nothing at this path")


def _document(app: OpenAPI) -> dict[str, Any]:
    # Several threads may ask at first, and what the library hands out is completed in place.
    with _making:
        if _MADE not in app.extensions:
            document = app.api_doc
            document_texts.complete(document)
            app.extensions[_MADE] = document
        made: dict[str, Any] = app.extensions[_MADE]
        return made


@cache
def _texts() -> dict[str, str]:
    """The pages by name; a name leads to nothing else."""
    return {path.name: path.read_text("utf-8") for path in sorted(_PAGES.glob("*.md"))}


def _content_security_policy() -> str:
    """Scripts and styles are files of ours; calls go to us, under our public name too."""
    base = urlsplit(extensions.get().settings.public_base_url)
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self' {base.scheme}://{base.netloc}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
