"""The numbers that monitoring reads: from the database and the circuits, at the time of reading.

No process keeps a counter of them, so any process tells the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from app import extensions
from app.domain.states import RecordStatus, TransactionStatus
from app.extensions import Extensions
from app.models.base import StatefulDocument
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.services import fuel_gauge
from app.services.fuel_gauge import Level

_LEAST_SECONDS = 5.0
# Counting takes longer as the database grows; it may take this share of the time at most.
_SHARE = 0.05


@dataclass(frozen=True)
class Gauges:
    """Counts by status, satoshis, hours (infinite without any use) and seconds."""

    utxos: Mapping[str, Level]
    records: Mapping[str, int]
    transactions: Mapping[str, int]
    needing_operator: int
    registrations_left: int
    runway_hours: float
    oldest_waiting_record_seconds: float
    is_circuit_open: Mapping[str, bool]
    satoshis_per_kilobyte: int


@dataclass(frozen=True)
class _Reading:
    """Gauges of one process's services, and until when they are good."""

    source: Extensions
    gauges: Gauges
    good_until: float


_lock = Lock()
_last: list[_Reading] = []


def read() -> Gauges:
    """Reads the gauges in a constant number of queries, or answers those of some seconds ago."""
    source = extensions.get()
    with _lock:
        if _last and _last[0].source is source and time.monotonic() < _last[0].good_until:
            return _last[0].gauges
        started = time.monotonic()
        gauges = _read()
        now = time.monotonic()
        life = max(_LEAST_SECONDS, (now - started) / _SHARE)
        _last[:] = [_Reading(source, gauges, now + life)]
        return gauges


def _read() -> Gauges:
    fuel = fuel_gauge.read()
    circuits = extensions.get().broadcaster.circuit_states()
    return Gauges(
        utxos=fuel.by_status,
        records=_count(AuthenticationRecord, RecordStatus),
        transactions=_count(ChainTransaction, TransactionStatus),
        needing_operator=ChainTransaction.count_needing_operator(),
        registrations_left=fuel.registrations_left,
        runway_hours=math.inf if fuel.hours_left is None else fuel.hours_left,
        oldest_waiting_record_seconds=fuel.oldest_waiting_seconds or 0.0,
        is_circuit_open={name: state.position != "closed" for name, state in circuits.items()},
        satoshis_per_kilobyte=fuel.satoshis_per_kilobyte,
    )


def _count(document: type[StatefulDocument], statuses: type[StrEnum]) -> dict[str, int]:
    """How many there are in each state, those without any included."""
    groups = document.objects.aggregate([{"$group": {"_id": "$status", "count": {"$sum": 1}}}])
    counted = {group["_id"]: int(group["count"]) for group in groups}
    return {status.value: counted.get(status.value, 0) for status in statuses}
