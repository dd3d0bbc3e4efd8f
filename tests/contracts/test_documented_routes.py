"""Every route that a page names is one of the service."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException

from tests.docs.pages import Page, list_documents

_ROUTE = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) (/[^\s?]+)")
# Their routes are those of the devnet's chain and of the signer.
_OF_OTHERS = {"docs/devnet-chain.md", "docs/signer.md"}
PAGES = [page for page in list_documents() if page.name not in _OF_OTHERS]


def is_known(app: Flask, method: str, path: str) -> bool:
    example = re.sub(r"<[^>]+>|\{[^}]+\}", "ab" * 32, path)
    try:
        app.url_map.bind("").match(example, method)
    except HTTPException:
        return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_o16_routes_that_a_page_names_exist(app: Flask, page: Page) -> None:
    named = {match.groups() for span in page.spans for match in _ROUTE.finditer(span)}
    unknown = sorted(route for route in named if not is_known(app, *route))
    assert unknown == []
