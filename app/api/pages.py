"""Pages that people see: how they are rendered and guarded, and what they show of an error."""

from __future__ import annotations

import re
from typing import Any

from flask import Response, render_template, request

from app import extensions
from app.api.assets import url_of

# No script at all, no style but our own, no picture but those that are in the page.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Where people come with a browser; nginx has the same list for errors of its own.
_PAGES = re.compile(r"/((certificates|docs|static)(/.*)?)?", re.DOTALL)


def render(template: str, **values: Any) -> str:
    """A page in the brand's name and style."""
    brand = extensions.get().settings.brand_name
    return render_template(template, brand=brand, style_url=url_of("certificate.css"), **values)


def as_page(response: Response) -> Response:
    """The response as HTML that runs nothing."""
    response.content_type = "text/html; charset=utf-8"
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


def is_asked_for_page() -> bool:
    """Whether the current request is a browser's, for a path where there are pages."""
    return bool(_PAGES.fullmatch(request.path)) and (
        request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
    )


def show_problem(response: Response, word: str, explanation: str, **more: Any) -> Response:
    """The shared answer to an error as a page: a word on top, what it means, how to ask for help.

    Nothing of the request is shown but names of fields that were known before it came.
    """
    problem: dict[str, Any] = response.get_json()["error"]
    response.set_data(
        render(
            "certificates/problem.html",
            word=word,
            explanation=explanation,
            status=problem["status"],
            request_id=problem["requestId"],
            **more,
        )
    )
    response.headers["Cache-Control"] = "no-store"
    return as_page(response)
