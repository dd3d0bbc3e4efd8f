"""No link of any page is dead, and every page can be found from the index."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tests.docs.pages import ROOT, Page, list_documents, list_pages

PAGES = list_pages()
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_o16_links_lead_somewhere(page: Page) -> None:
    dead = [link for link in page.links if not leads_somewhere(page, link)]
    assert dead == []


def leads_somewhere(page: Page, link: str) -> bool:
    """Whether a link within the checkout has a target; links to elsewhere are not followed."""
    if re.match(r"https?:|mailto:", link):
        return True
    path, _, anchor = link.partition("#")
    target = (page.path.parent / path).resolve() if path else page.path
    # What lies outside the checkout is not there for a reader.
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or (target.suffix == ".md" and anchor in Page(target).anchors)


def test_the_index_names_every_document() -> None:
    index = Page(ROOT / "docs" / "README.md")
    named = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}
    # A folder of runbooks has an index of its own.
    indexed = {path.parent for path in named if path.name == "README.md"}
    missing = [
        page.name
        for page in list_documents()
        if page.path not in named | {index.path, ROOT / "README.md"}
        and not (page.path.parent in indexed and page.path.parent.name == "runbooks")
    ]
    assert missing == []


def test_the_picture_says_what_it_shows_and_loads_nothing() -> None:
    text = (ROOT / "docs" / "architecture.svg").read_text()
    root = ElementTree.fromstring(text)  # noqa: S314 - a file of ours

    labels = str(root.get("aria-labelledby")).split()
    named = {each.get("id"): each for each in root if each.tag in (f"{SVG}title", f"{SVG}desc")}
    assert [bool(named[label].text) for label in labels] == [True, True]
    assert root.get("role") == "img"
    assert "prefers-color-scheme: dark" in text
    # The namespace is the one address in it.
    assert re.findall(r"https?://[^\"']+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"@import|@font-face|<script|<image|<foreignObject", text)
