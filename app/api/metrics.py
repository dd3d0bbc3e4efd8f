"""Metrics for Prometheus, text format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from app import extensions
from app.api.authentication import METRICS_KEY, METRICS_KEY_IF_REQUIRED
from app.api.limits import READING
from app.api.routing import route
from app.services import counters, gauges, login_metrics
from app.services.counters import Counter
from app.services.gauges import Gauges
from app.services.login_metrics import LoginCounts

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
    # Open to anyone unless told otherwise, and it asks the database much.
    limits=(READING,),
)
def show() -> Response:
    """Show the pool, the records, the transactions and the logins in numbers

    Prometheus text format 0.0.4. Open unless the operator has set `METRICS_REQUIRE_API_KEY=1`;
    nginx shows it to nobody.
    """
    registry = CollectorRegistry()
    registry.register(GaugesCollector(gauges.read()))
    registry.register(LoginsCollector(login_metrics.read(), extensions.get().settings.deploy_sha))
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
        yield _one(
            "patchproof_transactions_needing_operator",
            "Transactions that lost to others, and a person has to decide what follows.",
            read.needing_operator,
        )
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


class LoginsCollector(Collector):
    """Spells what became of logins by key, which was counted by every process of a release."""

    def __init__(self, counts: LoginCounts, sha: str) -> None:
        self._counts = counts
        self._sha = sha

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """Yields the events and the ages of challenges."""
        events = CounterMetricFamily(
            "patchproof_svd_events", "Logins by key.", labels=["event_type", "kid", "sha"]
        )
        for (event, kid), number in self._counts.events.items():
            events.add_metric([event, kid, self._sha], number)
        yield events
        ages = HistogramMetricFamily(
            "patchproof_svd_challenge_age_seconds",
            "Age of a challenge when it was used.",
            labels=["kid", "sha"],
        )
        bounds = [*(str(float(bound)) for bound in login_metrics.AGE_BUCKETS), "+Inf"]
        for kid, age in self._counts.ages.items():
            buckets = list(zip(bounds, accumulate(age.buckets), strict=True))
            ages.add_metric([kid, self._sha], buckets, age.seconds)
        yield ages


def _one(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
