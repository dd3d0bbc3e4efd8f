"""Requests are counted and timed by their route, whatever becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest
from flask import Response
from flask.testing import FlaskClient
from flask_openapi3.openapi import OpenAPI
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.exceptions import ImATeapot

from app.api import http_metrics
from app.api.authentication import ANYONE
from tests.unit.api.conftest import MakeApp

TIMES = "patchproof_http_request_duration_seconds"


def samples(app: OpenAPI) -> dict[str, list[tuple[dict[str, str], float]]]:
    """What the application has counted, by the sample's name."""
    with app.app_context():
        text = http_metrics.exposition().decode()
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def counted(app: OpenAPI) -> dict[tuple[str, str, str], float]:
    """How many requests there were of each method, route and status."""
    return {
        (labels["method"], labels["route"], labels["status"]): value
        for labels, value in samples(app).get(f"{TIMES}_count", [])
    }


def test_requests_are_counted_by_the_pattern_of_their_route(
    app: OpenAPI, client: FlaskClient
) -> None:
    for path in ("/v1/patches/verify/ab", "/v1/patches/verify/cd", "/a", "/b/c"):
        client.get(path)

    assert counted(app) == {
        ("GET", "/v1/patches/verify/<uid:uid_tag_id>", "400"): 2,
        ("GET", "none", "404"): 2,
    }


def test_methods_that_strangers_make_up_are_one(app: OpenAPI, client: FlaskClient) -> None:
    for method in ("FROBNICATE", "X" * 20, "TRACE"):
        assert client.open("/health", method=method).status_code == 405

    assert counted(app) == {("other", "none", "405"): 3}


def test_the_total_is_that_of_all_routes(app: OpenAPI, client: FlaskClient) -> None:
    client.get("/health")
    client.get("/nothing")
    client.get("/nowhere")

    found = samples(app)
    totals = {labels["status"]: value for labels, value in found["patchproof_http_request_total"]}
    assert totals == {"200": 1, "404": 2}
    bounds = {labels["le"] for labels, _ in found[f"{TIMES}_bucket"]}
    assert {"0.01", "30.0", "+Inf"} < bounds
    assert all(value >= 0 for _, value in found[f"{TIMES}_sum"])


def test_what_is_refused_before_its_view_is_counted(app: OpenAPI, client: FlaskClient) -> None:
    assert client.post("/v1/patches", json={}).status_code == 401

    assert counted(app) == {("POST", "/v1/patches", "401"): 1}


def add_view(app: OpenAPI, view: Callable[[], NoReturn]) -> None:
    view.authentication = ANYONE  # type: ignore[attr-defined]
    app.add_url_rule("/fails", view_func=view)


@pytest.mark.parametrize(("error", "status"), [(RuntimeError, "500"), (ImATeapot, "418")])
def test_views_that_raise_are_counted(app: OpenAPI, error: type[Exception], status: str) -> None:
    def fail() -> NoReturn:
        raise error

    add_view(app, fail)
    app.test_client().get("/fails")

    assert counted(app) == {("GET", "/fails", status): 1}


def test_what_a_later_hook_makes_of_an_answer_is_what_counts(app: OpenAPI) -> None:
    def teapot(response: Response) -> Response:
        response.status_code = 418
        return response

    app.after_request(teapot)
    app.test_client().get("/nothing")

    assert counted(app) == {("GET", "none", "418"): 1}


def test_what_even_the_handler_of_errors_does_not_catch_is_counted(app: OpenAPI) -> None:
    def leave() -> NoReturn:
        raise SystemExit

    add_view(app, leave)
    with pytest.raises(SystemExit):
        app.test_client().get("/fails")

    assert counted(app) == {("GET", "/fails", "500"): 1}
    assert [value for _, value in samples(app)["patchproof_http_request_exceptions_total"]] == [1]


def test_applications_count_for_themselves(make_app: MakeApp) -> None:
    first, second = make_app(), make_app()
    first.test_client().get("/nothing")

    assert counted(first) == {("GET", "none", "404"): 1}
    assert counted(second) == {}


def test_the_route_shows_them_with_every_other_part_away(client: FlaskClient) -> None:
    client.get("/nothing")

    response = client.get("/metrics")

    assert response.status_code == 200
    text = response.get_data(as_text=True)
    assert 'patchproof_part_up{part="database"} 0.0' in text
    assert f'{TIMES}_count{{method="GET",route="none",status="404"}} 1.0' in text
    families = [family.name for family in text_string_to_metric_families(text)]
    assert len(families) == len(set(families))
    assert not [name for name in families if "exporter" in name]
