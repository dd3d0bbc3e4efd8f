"""Metrics for Prometheus, text format 0.0.4."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from prometheus_client import CollectorRegistry, generate_latest

from app import extensions
from app.api import http_metrics
from app.api.authentication import METRICS_KEY, METRICS_KEY_IF_REQUIRED
from app.api.exposition import ObservationCollector
from app.api.limits import READING
from app.api.routing import route
from app.services import counters, monitoring
from app.services.counters import Counter

metrics = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="Health")])

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TEXT = {"content": {"text/plain": {"schema": {"type": "string"}}}}


@route(
    metrics,
    "GET",
    "/metrics",
    authentication=METRICS_KEY_IF_REQUIRED,
    responses={200: _TEXT},
    # Open to anyone unless told otherwise, and it asks the database much.
    limits=(READING,),
)
def show() -> Response:
    """Show how the service does, in numbers

    Prometheus text format 0.0.4. A part that is away takes its own numbers along and no others:
    `patchproof_part_up` names it. Open unless the operator has set `METRICS_REQUIRE_API_KEY=1`;
    nginx shows it to nobody.
    """
    registry = CollectorRegistry()
    release = extensions.get().settings.deploy_sha
    registry.register(ObservationCollector(monitoring.observe(), release))
    text = generate_latest(registry) + http_metrics.exposition()
    response = Response(text, content_type=CONTENT_TYPE)
    response.headers["Cache-Control"] = "no-store"
    return response


@route(
    metrics,
    "GET",
    "/internal/metrics",
    authentication=METRICS_KEY,
    responses={200: _TEXT},
)
def show_internal() -> Response:
    """Show how many logins by mail were begun and completed

    Prometheus text format 0.0.4.
    """
    lines: list[str] = []
    for counter, by_method in counters.read().items():
        # By hand: the library ends a counter's name in _total, which these have never had.
        lines += [f"# HELP {counter} {_COUNTER_TEXTS[counter]}", f"# TYPE {counter} counter"]
        lines += [f'{counter}{{method="{method}"}} {value}' for method, value in by_method.items()]
    response = Response("".join(f"{line}\n" for line in lines), content_type=CONTENT_TYPE)
    response.headers["Cache-Control"] = "no-store"
    return response


_COUNTER_TEXTS = {
    Counter.CHALLENGES_ISSUED: "Codes that were asked for.",
    Counter.TOKENS_ISSUED: "Tokens that were given for a code.",
}
