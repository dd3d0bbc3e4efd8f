"""Counts and times requests of HTTP, with prometheus_flask_exporter.

Where several processes serve a host, their numbers come together in the files of
PROMETHEUS_MULTIPROC_DIR (deploy/gunicorn.conf.py); without it a process tells its own alone.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Request, current_app, request
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics

_NAME = "http_metrics"
_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpMetrics(PrometheusMetrics):
    """The exporter without a gauge about itself."""

    def info(self, *_args: Any, **_labels: Any) -> None:
        """Shows nothing: each process would leave a gauge of its own behind when it ends."""


def init_app(app: Flask) -> None:
    """Counts every request; the hooks that are added before this are not timed.

    What a later hook makes of an answer is counted, since Flask calls those after a request from
    the last to the first.
    """
    exporter = HttpMetrics.for_app_factory(
        path=None,
        defaults_prefix="patchproof",
        group_by=route,
        buckets=_BOUNDS,
        # Of this application alone: there may be others in the process.
        registry=CollectorRegistry(),
    )
    exporter.init_app(app)
    app.before_request(_bound_method)
    app.extensions[_NAME] = exporter


def exposition() -> bytes:
    """What all processes of this host have counted, in Prometheus's text format 0.0.4."""
    text, _ = current_app.extensions[_NAME].generate_metrics()
    return str(text).encode()


def route(asked: Request) -> str:
    """The route's pattern, `none` for paths that strangers make up; names the label as well."""
    return "none" if asked.url_rule is None else asked.url_rule.rule


def _bound_method() -> None:
    """Methods that strangers make up are one: the exporter takes the request's as a label.

    No route is left to be found by it at this time.
    """
    if request.method not in _METHODS:
        request.method = "other"
