"""Metrics for Prometheus, text format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.api.authentication import METRICS_KEY, METRICS_KEY_IF_REQUIRED
from app.api.routing import route
from app.services import counters, gauges
from app.services.counters import Counter
from app.services.gauges import Gauges

metrics = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="Health")])

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TEXT = {"content": {"text/plain": {"schema": {"type": "string"}}}}


@route(
    metrics,
    "GET",
    "/metrics",
    authentication=METRICS_KEY_IF_REQUIRED,
    responses={200: _TEXT},
    errors=(503,),
)
def show() -> Response:
    """Show the pool, the records and the transactions in numbers"""
    registry = CollectorRegistry()
    registry.register(GaugesCollector(gauges.read()))
    response = Response(generate_latest(registry), content_type=CONTENT_TYPE)
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
    """Show how many logins by mail were begun and completed"""
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


class GaugesCollector(Collector):
    """Spells gauges that were read already."""

    def __init__(self, read: Gauges) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yields one family a gauge."""
        read = self._read
        yield _by(
            "patchproof_utxos",
            "Outputs of the pool.",
            "status",
            {status: level.count for status, level in read.utxos.items()},
        )
        yield _by(
            "patchproof_utxo_satoshis",
            "Satoshis that the pool's outputs hold.",
            "status",
            {status: level.satoshis for status, level in read.utxos.items()},
        )
        yield _one(
            "patchproof_registrations_left",
            "Registrations that the spendable outputs pay for at today's fee.",
            read.registrations_left,
        )
        yield _one(
            "patchproof_runway_hours",
            "Hours that they last at the last hour's rate; infinite when nothing was sent.",
            read.runway_hours,
        )
        yield _by("patchproof_records", "Records.", "status", read.records)
        yield _one(
            "patchproof_oldest_waiting_record_seconds",
            "Age of the oldest record that has not ended; 0 without any.",
            read.oldest_waiting_record_seconds,
        )
        yield _by("patchproof_transactions", "Transactions.", "status", read.transactions)
        yield _by(
            "patchproof_circuit_open",
            "1 while a service is left alone after repeated failures.",
            "service",
            read.is_circuit_open,
        )
        yield _one(
            "patchproof_fee_satoshis_per_kilobyte",
            "What a kilobyte of a transaction pays today.",
            read.satoshis_per_kilobyte,
        )


def _one(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
