"""The OpenAPI document is whole, its examples are true, and its page needs nobody but us."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator

from app import extensions
from app.api.examples import EXAMPLES
from app.api.limits import declared_by
from tests.contracts.test_routes import operations_of

PAGES = sorted(
    path.name for path in (Path(__file__).resolve().parents[2] / "docs" / "api").glob("*.md")
)
Operations = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> Operations:
    return {f"{m} {p}": operation for (m, p), operation in operations_of(document).items()}


def holders(operation: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The contents that deserve an example: the request and each success that is JSON."""
    parts = [("request", operation.get("requestBody", {})), *operation["responses"].items()]
    for part, holder in parts:
        if part == "request" or int(part) < 300:
            for kind, content in holder.get("content", {}).items():
                if kind == "application/json":
                    yield part, content


def test_every_operation_says_what_it_is_for(operations: Operations) -> None:
    for route, operation in operations.items():
        assert len(operation["summary"]) > 5, route
        assert len(operation["description"]) > 20, route
        assert "<br" not in operation["description"], route
        assert operation["tags"] != ["default"], route
        for status, response in operation["responses"].items():
            assert len(response["description"]) >= 5, (route, status)


def test_the_document_itself_needs_no_example_and_everything_else_has_one(
    operations: Operations,
) -> None:
    for route, operation in operations.items():
        if route == "GET /openapi.json":
            continue
        wanted = {part for part, _ in holders(operation)}
        assert set(EXAMPLES.get(route, {})) >= wanted, route
    assert set(EXAMPLES) <= set(operations)


def test_examples_are_what_the_schemas_say(
    document: dict[str, Any], operations: Operations
) -> None:
    for operation in operations.values():
        for _part, content in holders(operation):
            if "example" in content:
                whole = {**content["schema"], "components": document["components"]}
                Draft202012Validator(whole).validate(content["example"])


def test_headers_are_documented(operations: Operations) -> None:
    for route, operation in operations.items():
        is_probe = route.partition(" ")[2] in ("/__ping", "/health", "/ready")
        for status, response in operation["responses"].items():
            if status == "304":
                continue
            headers = set(response.get("headers", {}))
            assert ("X-Request-Id" in headers) != is_probe, (route, status)
            assert ("Retry-After" in headers) == (status in ("429", "503")), (route, status)
            if status == "429":
                assert "RateLimit-Reset" in headers, route


def test_a_body_may_be_left_out_where_the_route_says_so(app: Flask, operations: Operations) -> None:
    may_be_empty = {
        re.sub(r"<(?:[^<>:]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if getattr(app.view_functions[rule.endpoint], "may_be_empty", False)
    }
    for route, operation in operations.items():
        if "requestBody" in operation:
            is_needed = operation["requestBody"]["required"]
            assert is_needed != (route.partition(" ")[2] in may_be_empty), route


def test_the_document_names_the_limits_of_each_route(app: Flask, operations: Operations) -> None:
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^<>:]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            if f"{method} {path}" in operations:
                limits = [each.name for each in declared_by(app.view_functions[rule.endpoint])]
                assert operations[f"{method} {path}"].get("x-limits", []) == limits, path


def test_the_document_is_whole_for_all_who_ask_at_first(app: Flask) -> None:
    app.extensions.pop("patchproof.document", None)
    # As before the first request.
    app.spec_json = {}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.test_client().get("/openapi.json"), range(16)))

    assert len({answer.data for answer in answers}) == 1
    assert "headers" in answers[0].json["components"]


def test_2_docs_redirects_to_a_page(app: Flask) -> None:
    client = app.test_client()

    moved = client.get("/docs", headers={"Host": "elsewhere.example"})
    page = client.get("/docs/")

    assert (moved.status_code, moved.headers["Location"]) == (301, "/docs/")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert client.head("/docs/").status_code == 200


def test_the_page_runs_what_we_serve_and_nothing_else(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/docs/")
    text = page.get_data(as_text=True)
    policy = page.headers["Content-Security-Policy"]

    assert "unsafe" not in policy
    assert "script-src 'self';" in policy
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", text)
    links = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert {"/static/swagger-ui-bundle.js", "/static/documentation.js"} <= {
        link.partition("?")[0] for link in links
    }
    for link in links:
        if link != "data:,":
            assert link.startswith("/"), link
            assert client.get(link).status_code == 200, link


def test_scripts_and_styles_are_kept_by_their_version_and_sent_small(app: Flask) -> None:
    client = app.test_client()
    text = client.get("/docs/").get_data(as_text=True)
    for link in re.findall(r'"(/static/[^"]+)"', text):
        plain = client.get(link)
        small = client.get(link, headers={"Accept-Encoding": "gzip"})
        assert plain.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert small.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in small.headers["Vary"]
        assert len(small.data) < len(plain.data)
        again = client.get(link, headers={"If-None-Match": plain.headers["ETag"]})
        assert again.status_code == 304
    assert client.get("/static/documentation.js").headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("name", PAGES)
def test_f14_markdown_is_not_shadowed_by_the_page(app: Flask, name: str) -> None:
    client = app.test_client()

    response = client.get(f"/docs/md/{name}")

    assert (response.status_code, response.mimetype) == (200, "text/markdown")
    assert response.get_data(as_text=True).startswith("# ")
    assert f'href="/docs/md/{name}"' in client.get("/docs/").get_data(as_text=True)


def test_f14_a_page_that_is_not_there_is_no_other(app: Flask) -> None:
    for path in ("/docs/md/README.md", "/docs/md", "/docs/x", "/openapi", "/openapi/swagger"):
        response = app.test_client().get(path)
        assert (response.status_code, response.json["code"]) == (404, "not_found"), path


def test_2_documentation_can_be_switched_off(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = app.test_client()
    settings = extensions.get().settings.model_copy(update={"enable_swagger_docs": False})
    monkeypatch.setattr(extensions, "_current", [replace(extensions.get(), settings=settings)])

    for path in ("/docs", "/docs/", f"/docs/md/{PAGES[0]}"):
        assert client.get(path).status_code == 404
    assert client.get("/openapi.json").status_code == 200
