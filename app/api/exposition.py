"""Spells what monitoring reads as families of Prometheus's text format."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, product

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app import measures
from app.clients.broadcasting import UNKNOWN_REASONS
from app.clients.outcomes import BroadcastStatus
from app.domain.states import TRANSACTION_WAITING, RecordStatus
from app.measures import Count, Durations, Moment, Series
from app.queue import Task
from app.services import login_metrics
from app.services.checkup import Checkup
from app.services.fuel_gauge import FuelGauge
from app.services.gauges import Gauges, Waiting
from app.services.login_metrics import LoginCounts
from app.services.measuring import Readings
from app.services.monitoring import Observation
from app.services.queue_gauges import QueueGauges

_NEVER = 0.0
_LIVE_RECORDS = (RecordStatus.PENDING, RecordStatus.ANCHORING)


@dataclass(frozen=True, eq=False)
class ObservationCollector(Collector):
    """Everything that was observed, family by family."""

    seen: Observation
    release: str

    def collect(self) -> Iterator[Metric]:
        """Yields the families of every part that answered."""
        seen = self.seen
        yield _by("patchproof_build_info", "The release that answers.", "sha", {self.release: 1})
        yield _by(
            "patchproof_part_up",
            "1 where a part that the service needs answers.",
            "part",
            seen.is_up,
        )
        yield _by(
            "patchproof_circuit_open",
            "1 while a service is left alone after repeated failures.",
            "service",
            seen.is_circuit_open,
        )
        if seen.gauges is not None:
            yield from _gauges(seen.gauges)
        if seen.queues is not None:
            yield from _queues(seen.queues)
        if seen.readings is not None:
            yield from _readings(seen.readings, _known_series(seen))
        if seen.logins is not None:
            yield from _logins(seen.logins, self.release)


def _gauges(read: Gauges) -> Iterator[Metric]:
    yield from _fuel(read)
    yield from _waiting(read)
    yield _by(
        "patchproof_locked_utxos",
        "Outputs locked for a transaction (held) or for an attempt that is not stored (unheld).",
        "kind",
        {"held": read.locks.held, "unheld": read.locks.unheld},
    )
    yield _one(
        "patchproof_oldest_unheld_lock_seconds",
        "Age of the oldest lock of an attempt that is not stored; 0 without any.",
        read.locks.oldest_unheld_seconds,
    )
    yield _one(
        "patchproof_pool_synced_timestamp_seconds",
        "When the pool was last made to agree with the chain; 0 for never.",
        _seconds(read.pool_synced_at),
    )
    yield _one(
        "patchproof_split_lease_until_timestamp_seconds",
        "Until when somebody may split the pool; 0 where nobody ever did.",
        _seconds(read.split_lease_until),
    )
    yield _one("patchproof_chain_tip_height", "The best block that was seen.", read.tip_height or 0)
    yield from _checkup(read.checkup)


def _fuel(read: Gauges) -> Iterator[Metric]:
    fuel: FuelGauge = read.fuel
    counts = {status: level.count for status, level in fuel.by_status.items()}
    totals = {} if read.checkup is None else dict(read.checkup.utxos)
    yield _by(
        "patchproof_utxos",
        "Outputs of the pool; those that can't be spent as the last checkup counted them.",
        "status",
        totals | counts,
    )
    yield _by(
        "patchproof_utxo_satoshis",
        "Satoshis that the pool's outputs hold.",
        "status",
        {status: level.satoshis for status, level in fuel.by_status.items()},
    )
    for name, text, value in (
        ("useful_utxos", "Spendable outputs that pay for a registration.", fuel.useful),
        ("low_mark_utxos", "How many of them there have to be.", fuel.low_mark),
        (
            "registrations_left",
            "Registrations that the spendable outputs pay for at today's fee.",
            fuel.registrations_left,
        ),
        (
            "registrations_last_hour",
            "Records that were anchored in the last hour.",
            fuel.registrations_last_hour,
        ),
        (
            "runway_hours",
            "Hours that they last at the last hour's rate; infinite when nothing was sent.",
            read.runway_hours,
        ),
        (
            "fee_satoshis_per_kilobyte",
            "What a kilobyte of a transaction pays today.",
            fuel.satoshis_per_kilobyte,
        ),
    ):
        yield _one(f"patchproof_{name}", text, value)


def _waiting(read: Gauges) -> Iterator[Metric]:
    totals = read.checkup
    yield _by(
        "patchproof_records",
        "Records; those that have ended as the last checkup counted them.",
        "status",
        _with_live(read.records, _LIVE_RECORDS, {} if totals is None else totals.records),
    )
    yield _by(
        "patchproof_transactions",
        "Transactions; those that nobody looks at any more as the last checkup counted them.",
        "status",
        _with_live(
            read.transactions, TRANSACTION_WAITING, {} if totals is None else totals.transactions
        ),
    )
    yield _one(
        "patchproof_oldest_waiting_record_seconds",
        "Age of the oldest record that has not ended; 0 without any.",
        read.records.oldest_seconds,
    )
    yield _one(
        "patchproof_transactions_needing_operator",
        "Transactions that lost to others, and a person has to decide what follows.",
        read.transactions.needing_operator,
    )
    kinds = {
        "records": read.records,
        "transactions": read.transactions,
        "claims": read.claims,
        "mails": read.mails,
    }
    yield _by(
        "patchproof_waiting",
        "What somebody has yet to look at.",
        "kind",
        {kind: sum(waiting.by_status.values()) for kind, waiting in kinds.items()},
    )
    yield _by(
        "patchproof_sweeper_lag_seconds",
        "How long ago the one should have been looked at that is due longest; 0 without any.",
        "kind",
        {kind: waiting.lag_seconds for kind, waiting in kinds.items()},
    )


def _with_live(
    waiting: Waiting, live: Iterable[str], totals: Mapping[str, int]
) -> dict[str, float]:
    """Live ones as they are now, others as they were counted last."""
    now = {str(status): waiting.by_status.get(status, 0) for status in live}
    return {**totals, **now}


def _checkup(last: Checkup | None) -> Iterator[Metric]:
    broken = {} if last is None else last.broken
    yield _by(
        "patchproof_invariant_violations",
        "How many things broke a rule at the last checkup.",
        "rule",
        broken,
    )
    yield _one(
        "patchproof_invariants_checked_timestamp_seconds",
        "When the last checkup ended; 0 for never.",
        _NEVER if last is None else _seconds(last.checked_at),
    )
    yield _one(
        "patchproof_invariants_not_checked",
        "Rules that the last checkup could not check, as the chain was away.",
        0 if last is None else len(last.not_checked),
    )


def _queues(read: QueueGauges) -> Iterator[Metric]:
    yield _by("patchproof_queue_depth", "Messages that wait.", "queue", read.depth)
    yield _one("patchproof_queue_delivered", "Messages that are worked at.", read.delivered)
    yield _by(
        "patchproof_lock_held",
        "1 while a process does what only one may do at a time.",
        "lock",
        read.is_held,
    )


def _known_series(seen: Observation) -> dict[str, list[tuple[str, ...]]]:
    """Series that are shown before they are counted: what begins at 1 has not increased yet."""
    answers = [*((s.value, s.value) for s in BroadcastStatus if s is not BroadcastStatus.UNKNOWN)]
    answers += [(BroadcastStatus.UNKNOWN.value, reason) for reason in UNKNOWN_REASONS]
    return {
        measures.TASKS.name: list(product((task.value for task in Task), ("done", "failed"))),
        measures.BROADCASTS.name: [
            (broadcaster, *answer) for broadcaster in seen.broadcasters for answer in answers
        ],
    }


def _readings(read: Readings, known: Mapping[str, Iterable[tuple[str, ...]]]) -> Iterator[Metric]:
    by_name: dict[str, dict[Series, float]] = defaultdict(dict)
    for series, amount in read.amounts.items():
        by_name[series[0]][series[1:]] = amount
    for count in measures.COUNTS:
        zeros = {(measures.COUNT, *values): 0.0 for values in known.get(count.name, ())}
        yield _count(count, zeros | by_name[count.name])
    for durations in measures.DURATIONS:
        yield _histogram(durations, by_name[durations.name])
    for moment in measures.MOMENTS:
        yield _moment(moment, read.moments)
    yield from _processes(read)


def _count(count: Count, amounts: Mapping[Series, float]) -> Metric:
    family = CounterMetricFamily(count.name, count.text, labels=count.labels)
    for (_, *values), amount in amounts.items():
        if len(values) == len(count.labels):
            family.add_metric(values, amount)
    return family


def _histogram(durations: Durations, amounts: Mapping[Series, float]) -> Metric:
    family = HistogramMetricFamily(durations.name, durations.text, labels=durations.labels)
    bounds = [*(str(float(bound)) for bound in durations.bounds), "+Inf"]
    for values in {tuple(series[1:]): None for series in amounts}:
        if len(values) == len(durations.labels):
            numbers = [amounts.get((str(n), *values), 0.0) for n in range(len(bounds))]
            buckets = list(zip(bounds, accumulate(numbers), strict=True))
            total = amounts.get((measures.SUM, *values), 0.0)
            family.add_metric(values, buckets, total)
    return family


def _moment(moment: Moment, moments: Mapping[Series, float]) -> Metric:
    family = GaugeMetricFamily(moment.name, moment.text, labels=moment.labels)
    for (name, _, *values), at in moments.items():
        if name == moment.name and len(values) == len(moment.labels):
            family.add_metric(values, at)
    return family


def _processes(read: Readings) -> Iterator[Metric]:
    """What processes say of themselves, added up by kind."""
    running: dict[str, float] = defaultdict(float)
    sums: dict[str, dict[str, float]] = {name: defaultdict(float) for name in _PROCESS_TEXTS}
    for process in read.processes:
        running[process.service] += 1
        for name, value in process.values.items():
            if name in sums:
                sums[name][process.service] += value
    yield _by("patchproof_processes", "Processes that run.", "service", running)
    for name, text in _PROCESS_TEXTS.items():
        yield _by(name, text, "service", sums[name])


_PROCESS_TEXTS = {
    "patchproof_process_resident_memory_bytes": "Resident memory of all processes of a kind.",
    "patchproof_process_virtual_memory_bytes": "Virtual memory of all processes of a kind.",
    "patchproof_process_open_fds": "Open file descriptors of all processes of a kind.",
}


def _logins(counts: LoginCounts, sha: str) -> Iterator[Metric]:
    """What became of logins by key, which was counted by every process of a release."""
    events = CounterMetricFamily(
        "patchproof_svd_events", "Logins by key.", labels=["event_type", "kid", "sha"]
    )
    for (event, kid), number in counts.events.items():
        events.add_metric([event, kid, sha], number)
    yield events
    ages = HistogramMetricFamily(
        "patchproof_svd_challenge_age_seconds",
        "Age of a challenge when it was used.",
        labels=["kid", "sha"],
    )
    bounds = [*(str(float(bound)) for bound in login_metrics.AGE_BUCKETS), "+Inf"]
    for kid, age in counts.ages.items():
        buckets = list(zip(bounds, accumulate(age.buckets), strict=True))
        ages.add_metric([kid, sha], buckets, age.seconds)
    yield ages


def _seconds(moment: datetime | None) -> float:
    return _NEVER if moment is None else moment.timestamp()


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family
