"""What the operator does over HTTP: look at the pool, maintain it, check the invariants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from app.api.answers import answer
from app.api.authentication import ADMIN_KEY
from app.api.errors import answer_error
from app.api.routing import route
from app.api.schemas.admin import (
    AdminFailure,
    BatchAnswer,
    BatchBody,
    BatchQuery,
    InvariantsAnswer,
    MaintenanceAnswer,
    MaintenanceBody,
    PoolHealthAnswer,
)
from app.clients.outcomes import ClientError
from app.errors import UnavailableError
from app.services import batches, knobs, pool_health, pool_split, pool_sweep, pool_sync, pool_upkeep
from app.services import invariants as invariants_service
from app.services.fuel_gauge import FuelGauge
from app.services.pool_health import PoolHealth
from app.services.pool_split import SplitOutcome, SplitReport
from app.services.pool_sweep import SweepOutcome, SweepReport
from app.services.pool_sync import SyncReport

admin = APIBlueprint("admin", __name__, url_prefix="/v1/admin", abp_tags=[Tag(name="Admin")])

_FAILURES = dict.fromkeys((400, 401, 403, 413, 500, 503), AdminFailure)
_MAINTENANCE = {200: MaintenanceAnswer, 409: AdminFailure, **_FAILURES}
_READING = dict.fromkeys((401, 403, 500, 503), AdminFailure)
_RETRY_SECONDS = 30


@route(
    admin,
    "GET",
    "/utxo-health",
    authentication=ADMIN_KEY,
    responses={200: PoolHealthAnswer, **_READING},
)
def utxo_health() -> Response:
    """Show the pool beside what the chain lists, and how far it reaches

    `chain` holds an `error` where the chain service did not answer; the rest is still told.
    """
    seen = pool_health.read()
    return answer(
        {
            "db": {
                status: {"count": level.count, "totalSatoshis": level.satoshis}
                for status, level in seen.gauge.by_status.items()
            },
            "funding": {
                "address": seen.funding_address,
                "network": seen.network,
                "minConfirmations": seen.knobs.min_confirmations,
            },
            "chain": _chain(seen),
            "fuel": {**_fuel(seen.gauge), "warnings": seen.warnings},
        }
    )


@route(
    admin,
    "POST",
    "/utxo-maintain",
    authentication=ADMIN_KEY,
    responses=_MAINTENANCE,
    may_be_empty=True,
)
def utxo_maintain(body: MaintenanceBody) -> Response:
    """Sync, sweep or split the pool, or all three

    One at a time across all hosts: 409 while another runs. `auto` does all three in the order
    sync, sweep, split.
    """
    return _maintain(body)


@route(
    admin,
    "POST",
    "/utxo-maintenance",
    authentication=ADMIN_KEY,
    responses=_MAINTENANCE,
    may_be_empty=True,
)
def utxo_maintenance(body: MaintenanceBody) -> Response:
    """Sync, sweep or split the pool, under the other name that this path has had

    The same as `/v1/admin/utxo-maintain`.
    """
    return _maintain(body)


@route(
    admin,
    "POST",
    "/batch-anchor",
    authentication=ADMIN_KEY,
    responses={200: BatchAnswer, 202: BatchAnswer, 409: AdminFailure, **_FAILURES},
    may_be_empty=True,
)
def batch_anchor(query: BatchQuery, body: BatchBody) -> Response:
    """Anchor registrations that wait in one transaction

    One call at a time across all hosts: 409 while another runs. `limit` is in the body or in the
    query, the body's counts. 200 where the records are confirmed, and where none waits; 202 where
    the transaction is stored and on its way, and the rest follows without another call.
    """
    limit = body.limit or query.limit or batches.DEFAULT_RECORDS
    done = batches.anchor_waiting(limit)
    if done.txid is None:
        message = "no registration waits"
        return answer({"success": True, "message": message, "processed": 0})
    carried = {"txid": done.txid, "processed": done.processed, "updated": done.updated}
    return answer({"success": True, **carried}, 200 if done.is_settled else 202)


@route(
    admin,
    "GET",
    "/invariants",
    authentication=ADMIN_KEY,
    responses={200: InvariantsAnswer, **_READING},
)
def invariants() -> Response:
    """Check that nothing is spent twice or forgotten, and that records and chain agree

    Reads everything there is, so it takes a while with many records. `ok` is true only where
    every rule was checked and holds.
    """
    report = invariants_service.check()
    return answer(
        {
            "ok": report.is_clean,
            "checked": report.checked,
            "notChecked": report.not_checked,
            "violations": [asdict(violation) for violation in report.violations],
            "notices": report.notices,
        }
    )


@admin.errorhandler(Exception)
def answer_failure(error: Exception) -> Response:
    """Failures say `success: false` as well, where clients of these routes look."""
    if isinstance(error, ClientError):
        error = UnavailableError(str(error), retry_after_seconds=_RETRY_SECONDS)
    return answer_error(error, success=False)


def _maintain(body: MaintenanceBody) -> Response:
    result = _ACTIONS[body.action]()
    return answer({"success": True, "action": body.action, "result": result})


def _maintain_all() -> Mapping[str, Any]:
    done = pool_upkeep.maintain()
    return {"sync": _sync(done.sync), "sweep": _sweep(done.sweep), "split": _split(done.split)}


_ACTIONS: Mapping[str, Callable[[], Mapping[str, Any]]] = {
    "auto": _maintain_all,
    "sync": lambda: {"sync": _sync(pool_sync.sync())},
    "sweep": lambda: {"sweep": _sweep(pool_sweep.sweep_dust())},
    "split": lambda: {"split": _split(pool_split.split())},
}


def _chain(seen: PoolHealth) -> Mapping[str, Any]:
    if seen.chain is None:
        return {"error": seen.chain_error}
    return {
        "totalUtxos": seen.chain.outputs,
        "totalSatoshis": seen.chain.satoshis,
        "confirmedUtxos": seen.chain.confirmed_outputs,
        "confirmedSatoshis": seen.chain.confirmed_satoshis,
        "height": seen.chain.tip_height,
    }


def _fuel(gauge: FuelGauge) -> dict[str, Any]:
    return {
        "usefulUtxos": gauge.useful,
        "lowMark": gauge.low_mark,
        "satoshisPerKilobyte": gauge.satoshis_per_kilobyte,
        "satoshisPerRegistration": gauge.satoshis_per_registration,
        "registrationsLeft": gauge.registrations_left,
        "registrationsLastHour": gauge.registrations_last_hour,
        "hoursLeft": gauge.hours_left,
        "waitingRecords": gauge.waiting,
        "oldestWaitingSeconds": gauge.oldest_waiting_seconds,
        "oldestWaitingReason": gauge.oldest_waiting_reason,
    }


def _sync(done: SyncReport) -> Mapping[str, Any]:
    return {"added": done.added, "spent": done.spent, "confirmed": done.confirmed}


def _sweep(done: SweepReport) -> Mapping[str, Any]:
    txids = [each.txid for each in done.transactions]
    if done.outcome is SweepOutcome.DONE:
        return {"success": True, "txid": txids[0], "txids": txids, "inputs": done.inputs}
    if done.outcome is SweepOutcome.NOT_ACCEPTED:
        return {"success": False, "error": done.outcome.value, "txids": txids}
    return {"skipped": True, "reason": done.outcome.value, "count": done.count}


def _split(done: SplitReport) -> Mapping[str, Any]:
    txids = [each.txid for each in done.transactions]
    if done.outcome is SplitOutcome.DONE:
        return {"success": True, "txid": txids[0], "txids": txids, "outputs": done.outputs}
    if done.outcome is SplitOutcome.NOT_ACCEPTED:
        return {"success": False, "error": done.outcome.value, "txids": txids}
    if done.outcome is SplitOutcome.NO_FUNDS:
        required = (done.target - done.available) * knobs.load().split_size
        return {"success": False, "error": done.outcome.value, "required": required}
    return {"skipped": True, "reason": done.outcome.value, "poolCount": done.available}
