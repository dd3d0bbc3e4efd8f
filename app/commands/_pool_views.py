"""How the pool's commands show plans, reports and the pool itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from app.commands._console import show, show_rows
from app.domain.splitting import SplitPlan
from app.domain.sweeping import SweepRound
from app.services.pool_health import PoolHealth
from app.services.pool_split import SplitReport
from app.services.pool_sweep import SweepPlan, SweepReport
from app.services.pool_sync import Survey
from app.services.reshaping import SentTransaction

_TRANSACTION_COLUMNS = ("txid", "status", "inputs", "outputs", "fee", "reason")


def counts(found: Survey) -> dict[str, int]:
    return {
        "listed": found.listed,
        "added": len(found.new),
        "confirmed": len(found.confirmed),
        "spent": len(found.spent),
        "restored": len(found.restored),
        "set_aside": len(found.unseen),
        "unexplained": found.unexplained,
    }


def split_plan_values(planned: SplitPlan) -> dict[str, Any]:
    return asdict(planned) | {"outputs": planned.outputs}


def sweep_plan_values(planned: SweepPlan) -> dict[str, Any]:
    rounds = tuple(_sweep_round_values(each) for each in planned.rounds)
    return {"count": planned.count, "limit": planned.limit, "rounds": rounds}


def _sweep_round_values(planned: SweepRound) -> dict[str, Any]:
    return {
        "inputs": len(planned.outpoints),
        "satoshis": planned.satoshis,
        "fee_satoshis": planned.fee_satoshis,
        "swept_satoshis": planned.swept_satoshis,
    }


def print_split_plan(planned: SplitPlan, *, as_json: bool) -> None:
    values = split_plan_values(planned)
    if as_json:
        show("Plan", values, as_json=True)
        return
    rounds = values.pop("rounds")
    show("Plan", values, as_json=False)
    columns = ("outpoint", "satoshis", "outputs", "satoshis each", "fee", "change")
    show_rows("Rounds", columns, [tuple(each.values()) for each in rounds])


def print_sweep_plan(planned: SweepPlan, *, as_json: bool) -> None:
    values = sweep_plan_values(planned)
    if as_json:
        show("Plan", values, as_json=True)
        return
    rounds = values.pop("rounds")
    show("Plan", values, as_json=False)
    columns = ("inputs", "satoshis", "fee", "swept")
    show_rows("Rounds", columns, [tuple(each.values()) for each in rounds])


def print_sent(
    title: str,
    done: SplitReport | SweepReport,
    transactions: Sequence[SentTransaction],
    *,
    as_json: bool,
) -> None:
    values = asdict(done)
    if as_json:
        show(title, values, as_json=True)
        return
    values.pop("transactions")
    show(title, values, as_json=False)
    rows = [(t.txid, t.status, t.inputs, t.outputs, t.fee_satoshis, t.reason) for t in transactions]
    show_rows("Transactions", _TRANSACTION_COLUMNS, rows)


def print_health(seen: PoolHealth) -> None:
    gauge = asdict(seen.gauge)
    levels = gauge.pop("by_status")
    rows = [(status, level["count"], level["satoshis"]) for status, level in levels.items()]
    if seen.chain is not None:
        rows.append(("on the chain", seen.chain.outputs, seen.chain.satoshis))
    show_rows("Outputs", ("state", "outputs", "satoshis"), rows)
    show("Fuel", gauge, as_json=False)
    show(
        "Funding",
        {
            "address": seen.funding_address,
            "network": seen.network,
            "key identifier": seen.key_identifier,
            "chain": "answers" if seen.chain_error is None else seen.chain_error,
        },
        as_json=False,
    )
    show("Settings", seen.knobs, as_json=False)
    for warning in seen.warnings:
        click.secho(f"Warning: {warning}", fg="yellow", err=True)
