"""How much is in the pool, how far it reaches, and who waits: seen before it runs dry."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bson import ObjectId

from app import extensions
from app.domain.clock import utc_now
from app.domain.fuel import Usage, hours_left, satoshis_per_registration
from app.domain.states import TRANSACTION_LIVE, RecordStatus, UtxoStatus
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction, TransactionKind
from app.models.utxo import Utxo
from app.services import knobs

logger = logging.getLogger(__name__)

# A record that waits longer than this is worth a line in the log.
_PATIENCE_SECONDS = 600
_CARRIERS = (TransactionKind.REGISTRATION, TransactionKind.TRANSFER, TransactionKind.BATCH)
# Names the index: not every server uses it to find out whether a field is there, or beside others.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Level:
    """Outputs in one state and their satoshis."""

    count: int
    satoshis: int


@dataclass(frozen=True)
class FuelGauge:
    """`registrations_left` and `hours_left` count what can be spent now, at today's fee.

    `hours_left` follows the last hour's spending and is None without any.
    """

    by_status: Mapping[str, Level]
    useful: int
    low_mark: int
    satoshis_per_kilobyte: int
    satoshis_per_registration: int
    registrations_left: int
    registrations_last_hour: int
    hours_left: float | None
    waiting: int
    oldest_waiting_seconds: float | None
    oldest_waiting_reason: str | None


def read(statuses: Collection[UtxoStatus] = tuple(UtxoStatus)) -> FuelGauge:
    """Reads the gauge, in a constant number of queries; `by_status` has these states."""
    today = knobs.load()
    key_identifier = extensions.get().settings.utxo_funding_key_identifier
    sums = Utxo.sum_by_status(key_identifier, statuses)
    levels = {status.value: Level(*sums.get(status.value, (0, 0))) for status in statuses}
    now = utc_now()
    usage = _usage_since(now - timedelta(hours=1))
    price = satoshis_per_registration(usage, today.satoshis_per_kilobyte)
    spendable = levels[UtxoStatus.AVAILABLE].satoshis
    waiting, oldest = _waiting()
    return FuelGauge(
        by_status=levels,
        useful=Utxo.count_available(key_identifier, at_least=today.useful_satoshis),
        low_mark=today.min_pool,
        satoshis_per_kilobyte=today.satoshis_per_kilobyte,
        satoshis_per_registration=price,
        registrations_left=spendable // price,
        registrations_last_hour=usage.records + usage.batched,
        hours_left=hours_left(spendable, usage),
        waiting=waiting,
        oldest_waiting_seconds=_age_seconds(oldest, now),
        oldest_waiting_reason=None if oldest is None else _reason(oldest),
    )


def list_warnings(gauge: FuelGauge) -> list[str]:
    """What an operator should know before it is too late."""
    return [text for text in (_dry(gauge), _short(gauge), _stuck(gauge)) if text]


def warn() -> list[str]:
    """Logs the warnings, if there are any, and answers them."""
    seen = read()
    warnings = list_warnings(seen)
    for text in warnings:
        logger.warning(
            text,
            extra={
                "event": "fuel.low",
                "available": seen.by_status[UtxoStatus.AVAILABLE].count,
                "registrations_left": seen.registrations_left,
                "hours_left": seen.hours_left,
                "waiting": seen.waiting,
                "oldest_waiting_seconds": seen.oldest_waiting_seconds,
            },
        )
    return warnings


def _usage_since(moment: datetime) -> Usage:
    """Sums what carried records lately. Ids hold the time of the claim, so their index serves."""
    groups = list(
        ChainTransaction.objects(
            id__gte=ObjectId.from_datetime(moment),
            status__in=list(TRANSACTION_LIVE),
            kind__in=[kind.value for kind in _CARRIERS],
        ).aggregate(
            [
                {
                    "$group": {
                        "_id": "$kind",
                        "records": {"$sum": {"$size": "$records"}},
                        "size": {"$sum": "$size_bytes"},
                        "fee": {"$sum": "$fee_satoshis"},
                    }
                }
            ]
        )
    )
    alone = [group for group in groups if group["_id"] != TransactionKind.BATCH]
    return Usage(
        records=sum(int(group["records"]) for group in alone),
        size_bytes=sum(int(group["size"]) for group in alone),
        fee_satoshis=sum(int(group["fee"]) for group in groups),
        batched=sum(int(group["records"]) for group in groups if group not in alone),
    )


def _waiting() -> tuple[int, AuthenticationRecord | None]:
    """Records that have not ended: how many, and the oldest. Only live ones have a next attempt."""
    live = AuthenticationRecord.objects(next_attempt_at__gt=_LONG_AGO)
    return int(live.count()), live.order_by("created_at").first()


def _age_seconds(record: AuthenticationRecord | None, now: datetime) -> float | None:
    return None if record is None else round((now - record.created_at).total_seconds(), 1)


def _reason(record: AuthenticationRecord) -> str:
    """Why it waits: its own reason, or that of the transaction that carries it."""
    if record.status == RecordStatus.ANCHORING:
        carrier = ChainTransaction.objects(id=record.transaction_id).only("reason").first()
        if carrier is not None and carrier.reason:
            return f"its transaction was not accepted: {carrier.reason}"
        return "its transaction is on its way"
    return str(record.reason or "nobody has taken it up yet")


def _dry(gauge: FuelGauge) -> str | None:
    limit = extensions.get().settings.runway_warning_hours
    if gauge.hours_left is None or gauge.hours_left >= limit:
        return None
    return f"the pool lasts {gauge.hours_left} hours at the last hour's rate: fund it"


def _short(gauge: FuelGauge) -> str | None:
    if gauge.useful >= gauge.low_mark:
        return None
    return (
        f"the pool has {gauge.useful} useful outputs, fewer than {gauge.low_mark}, "
        f"enough for {gauge.registrations_left} registrations"
    )


def _stuck(gauge: FuelGauge) -> str | None:
    seconds = gauge.oldest_waiting_seconds
    if seconds is None or seconds < _PATIENCE_SECONDS:
        return None
    return f"a record has waited {seconds:.0f} seconds: {gauge.oldest_waiting_reason}"
