"""`manage.py utxo`: the pool of outputs that pays for transactions."""

from __future__ import annotations

import click

from app.commands._console import ExitCode, as_json_option, show, with_services
from app.services import pool_split, pool_sync


@click.group()
def utxo() -> None:
    """The pool of outputs that pays for transactions."""


@utxo.command()
@as_json_option
@with_services
def sync(*, as_json: bool) -> None:
    """Add what the chain says pays the funding address, and count confirmations.

    Known outputs keep their status. Exit code 0 done, 4 chain service away.
    """
    show("Pool synced", pool_sync.sync(), as_json=as_json)


@utxo.command()
@click.option(
    "--target",
    type=click.IntRange(1, 1000),
    help="Outputs that the pool shall have. [default: UTXO_MIN_POOL]",
)
@click.option("--dry-run", is_flag=True, help="Show the plan; lock, sign and write nothing.")
@as_json_option
@with_services
def split(*, target: int | None, dry_run: bool, as_json: bool) -> None:
    """Split a large output into UTXO_SPLIT_SIZE_SATS each until the pool has its target.

    Exit code 0 done, 2 nothing to do, 4 no funds or a service away.
    """
    planned = pool_split.plan(target)
    if planned.outputs < 1 or dry_run:
        show("Plan", planned, as_json=as_json)
        raise SystemExit(int(ExitCode.DONE if planned.outputs else ExitCode.NOTHING_TO_DO))
    show("Split", pool_split.split(planned) or {}, as_json=as_json)
