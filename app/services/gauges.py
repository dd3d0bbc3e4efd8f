"""The numbers that monitoring reads of the database: at the time of reading, from indexes alone.

No process keeps a counter of them, so any process tells the same. What can only be told by reading
everything is what the last checkup has found (app/services/checkup.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from app import extensions
from app.domain.clock import utc_now
from app.domain.states import UtxoStatus
from app.extensions import Extensions
from app.models.base import StatefulDocument
from app.models.claim_intent import ClaimIntent
from app.models.record import AuthenticationRecord
from app.models.setting import CHAIN_TIP, POOL_SYNCED, SPLIT_LEASE, Setting
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.models.verification_code import VerificationCode
from app.services import checkup, fuel_gauge
from app.services.checkup import Checkup
from app.services.fuel_gauge import FuelGauge

_LEAST_SECONDS = 5.0
# Counting takes longer as more waits; it may take this share of the time at most.
_SHARE = 0.05
# Those of which there may be millions are counted by the checkup.
_LIVE_OUTPUTS = (UtxoStatus.UNCONFIRMED, UtxoStatus.AVAILABLE, UtxoStatus.LOCKED)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Waiting:
    """Documents that somebody has yet to look at: counts by status, ages in seconds.

    `lag_seconds` is how long ago the one should have been looked at that has waited longest.
    """

    by_status: Mapping[str, int] = field(default_factory=dict)
    oldest_seconds: float = 0.0
    lag_seconds: float = 0.0
    needing_operator: int = 0


@dataclass(frozen=True)
class Locks:
    """Outputs locked for a transaction (held) and for an attempt (not held yet)."""

    held: int
    unheld: int
    oldest_unheld_seconds: float


@dataclass(frozen=True)
class Gauges:
    """What the database tells; moments are None where a thing has never happened."""

    fuel: FuelGauge
    records: Waiting
    transactions: Waiting
    claims: Waiting
    mails: Waiting
    locks: Locks
    checkup: Checkup | None
    pool_synced_at: datetime | None
    split_lease_until: datetime | None
    tip_height: int | None

    @property
    def runway_hours(self) -> float:
        """Hours that the pool lasts; infinite without any use."""
        return math.inf if self.fuel.hours_left is None else self.fuel.hours_left


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
    now = utc_now()
    facts = Setting.find_all([POOL_SYNCED, SPLIT_LEASE, CHAIN_TIP])
    values: dict[str, Any] = {key: fact.value for key, fact in facts.items()}
    lease = values.get(SPLIT_LEASE)
    return Gauges(
        fuel=fuel_gauge.read(_LIVE_OUTPUTS),
        records=_waiting(AuthenticationRecord, now),
        transactions=_waiting(ChainTransaction, now),
        claims=_waiting(ClaimIntent, now),
        mails=_waiting(VerificationCode, now),
        locks=_locks(now),
        checkup=checkup.find_last(),
        pool_synced_at=values.get(POOL_SYNCED),
        split_lease_until=lease.get("until") if isinstance(lease, Mapping) else None,
        tip_height=values.get(CHAIN_TIP),
    )


def _waiting(document: type[StatefulDocument], now: datetime) -> Waiting:
    """One pass over those that have a next attempt: the index has no others."""
    groups = list(
        document.objects(next_attempt_at__gt=_LONG_AGO).aggregate(
            [
                {
                    "$group": {
                        "_id": "$status",
                        "count": {"$sum": 1},
                        "oldest": {"$min": "$created_at"},
                        "due": {"$min": "$next_attempt_at"},
                        "stuck": {"$sum": {"$cond": [{"$eq": ["$needs_operator", True]}, 1, 0]}},
                    }
                }
            ]
        )
    )
    return Waiting(
        by_status={group["_id"]: int(group["count"]) for group in groups},
        oldest_seconds=_longest(now, (group["oldest"] for group in groups)),
        lag_seconds=_longest(now, (group["due"] for group in groups)),
        needing_operator=sum(int(group["stuck"]) for group in groups),
    )


def _locks(now: datetime) -> Locks:
    groups = {
        bool(group["_id"]): group
        for group in Utxo.objects(status=UtxoStatus.LOCKED.value).aggregate(
            [
                {
                    "$group": {
                        "_id": "$held",
                        "count": {"$sum": 1},
                        "oldest": {"$min": "$locked_at"},
                    }
                }
            ]
        )
    }
    unheld = groups.get(False, {})
    return Locks(
        held=int(groups.get(True, {}).get("count", 0)),
        unheld=int(unheld.get("count", 0)),
        oldest_unheld_seconds=_longest(now, [unheld.get("oldest")]),
    )


def _longest(now: datetime, moments: Iterable[datetime | None]) -> float:
    """Seconds since the earliest of these moments; 0 where it is none or still to come."""
    ages = [(now - moment).total_seconds() for moment in moments if moment is not None]
    return round(max([0.0, *ages]), 1)
