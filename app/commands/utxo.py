"""`manage.py utxo`: the pool of outputs that pays for transactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from app import extensions
from app.commands import _pool_views
from app.commands._console import (
    CommandError,
    ExitCode,
    as_json_option,
    progress,
    show,
    with_services,
)
from app.services import (
    pool_add,
    pool_health,
    pool_split,
    pool_sweep,
    pool_sync,
    pool_upkeep,
    reaper,
)
from app.services.pool_split import SplitOutcome, SplitReport
from app.services.pool_sweep import SweepOutcome, SweepReport
from app.services.pool_sync import Watched
from app.services.reshaping import SentTransaction

HELP = """The pool of outputs that pays for transactions.

Commands that change the pool run one at a time, on all hosts together, and so do the periodic
tasks and the admin routes.

\b
Exit codes:
  0  done
  1  wrong settings, or a defect
  2  nothing to do, or wrong usage
  3  somebody else maintains the pool
  4  database, Redis, chain service or signer are away
  5  refused, with the reason

\b
In place of the older scripts:
  utxo-manager.js            utxo maintain
  sweep-change.js            utxo sweep --address A --key-identifier K
  reapLocks.js               utxo reap --age MINUTES
  revert-stale-locks.js      utxo reap --older-than-mins MINUTES
  addUtxo.js                 utxo add
  check-health.js            utxo health
Their flags work as they were written there.
"""

_SPLIT_EXITS = {
    SplitOutcome.DONE: ExitCode.DONE,
    SplitOutcome.HEALTHY: ExitCode.NOTHING_TO_DO,
    SplitOutcome.COOLING_DOWN: ExitCode.NOTHING_TO_DO,
    SplitOutcome.LEASE_HELD: ExitCode.LOCK_HELD,
    SplitOutcome.NO_FUNDS: ExitCode.REFUSED,
}
_SWEEP_EXITS = {
    SweepOutcome.DONE: ExitCode.DONE,
    SweepOutcome.BELOW_LIMIT: ExitCode.NOTHING_TO_DO,
    SweepOutcome.NOTHING: ExitCode.NOTHING_TO_DO,
}

dry_run_option = click.option(
    "--dry-run",
    "--dryRun",
    "dry_run",
    is_flag=True,
    help="Show what would be done; lock, sign, write and send nothing.",
)


@click.group(help=HELP)
def utxo() -> None:
    """Hold the commands together."""


@utxo.command()
@click.option("--check", is_flag=True, help="Exit with 1 when there is something to warn about.")
@as_json_option
@with_services
def health(*, check: bool, as_json: bool) -> None:
    """Show what is in the pool, how far it reaches, and who waits.

    \b
    Example:
      manage.py utxo health --json | jq .gauge.hours_left
    """
    with progress(as_json=as_json) as report:
        report("ask the chain", 0, None)
        seen = pool_health.read()
    if as_json:
        show("Pool", seen, as_json=True)
    else:
        _pool_views.print_health(seen)
    raise SystemExit(int(ExitCode.FAILED if check and seen.warnings else ExitCode.DONE))


@utxo.command()
@dry_run_option
@as_json_option
@with_services
def sync(*, dry_run: bool, as_json: bool) -> None:
    """Make the pool agree with what the chain says pays the funding address.

    New outputs are added and confirmations counted. What is gone from the chain is marked spent
    once the chain names the spender; what was wrongly marked spent is taken back. Locked outputs
    are never touched. Also done every 15 minutes by a task.
    """
    with progress(as_json=as_json) as report:
        if dry_run:
            found = pool_sync.survey(Watched.funding(), on_progress=report)
            show("Would change", _pool_views.counts(found), as_json=as_json)
        else:
            show("Pool synced", pool_sync.sync(on_progress=report), as_json=as_json)


@utxo.command()
@click.option(
    "--target",
    type=click.IntRange(1, 100_000),
    help="Useful outputs that the pool shall have. "
    "[default: UTXO_MAX_POOL once there are fewer than UTXO_MIN_POOL]",
)
@click.option(
    "--size",
    type=click.IntRange(1),
    help="Satoshis of each new output. [default: UTXO_SPLIT_SIZE_SATS]",
)
@click.option("--ignore-cooldown", is_flag=True, help="Don't wait SPLIT_COOLDOWN_MS after a split.")
@dry_run_option
@as_json_option
@with_services
def split(
    *, target: int | None, size: int | None, ignore_cooldown: bool, dry_run: bool, as_json: bool
) -> None:
    """Split large outputs until the pool has its target.

    Each transaction makes MAX_SPLIT_OUTPUTS at most; there are as many as it takes. A target
    that the funds don't reach, and a size below DUST_THRESHOLD_SATS, are refused. Also done every
    15 minutes by a task, and at once when a worker finds the pool low.

    \b
    Example:
      manage.py utxo split --target 100 --dry-run
    """
    if dry_run:
        planned = pool_split.plan(target=target, size=size)
        _pool_views.print_split_plan(planned, as_json=as_json)
        raise SystemExit(int(ExitCode.DONE if planned.rounds else ExitCode.NOTHING_TO_DO))
    with progress(as_json=as_json) as report:
        done = pool_split.split(
            target=target, size=size, ignore_cooldown=ignore_cooldown, on_progress=report
        )
    _pool_views.print_sent("Split", done, done.transactions, as_json=as_json)
    raise SystemExit(int(_split_exit(done)))


@utxo.command()
@click.option(
    "--threshold",
    type=click.IntRange(1),
    help="Outputs below so many satoshis are dust. [default: DUST_THRESHOLD_SATS]",
)
@click.option(
    "--limit",
    type=click.IntRange(2),
    help="Sweep only when there are so many. [default: DUST_SWEEP_LIMIT]",
)
@click.option(
    "--address",
    "--changeAddress",
    "address",
    help="Sweep everything at this address instead. [default with a key: UTXO_CHANGE_ADDRESS]",
)
@click.option(
    "--key-identifier",
    "--changeKeyId",
    "key_identifier",
    help="The signer's name of that address's key.",
)
@click.option(
    "--destination",
    "--destinationAddress",
    "destination",
    help="Where it goes. [default: the funding address]",
)
@dry_run_option
@as_json_option
@with_services
def sweep(
    *,
    threshold: int | None,
    limit: int | None,
    address: str | None,
    key_identifier: str | None,
    destination: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Gather the pool's dust, or everything at another address, into one output.

    Each transaction takes SWEEP_MAX_INPUTS at most. Only outputs that this service has locked
    are spent, and unconfirmed ones wait. The dust is also swept daily by a task.

    \b
    Examples:
      manage.py utxo sweep --dry-run
      manage.py utxo sweep --address 1Old... --key-identifier old-pool
    """
    source = _source(address, key_identifier, destination)
    paid = destination or extensions.get().settings.utxo_funding_address
    if dry_run:
        planned = (
            pool_sweep.plan_dust(threshold=threshold, limit=limit)
            if source is None
            else pool_sweep.plan_address(source, paid)
        )
        _pool_views.print_sweep_plan(planned, as_json=as_json)
        raise SystemExit(int(ExitCode.DONE if planned.rounds else ExitCode.NOTHING_TO_DO))
    with progress(as_json=as_json) as report:
        done = (
            pool_sweep.sweep_dust(threshold=threshold, limit=limit, on_progress=report)
            if source is None
            else pool_sweep.sweep_address(source, paid, on_progress=report)
        )
    _pool_views.print_sent("Sweep", done, done.transactions, as_json=as_json)
    raise SystemExit(int(_sweep_exit(done)))


@utxo.command()
@click.option(
    "--age",
    "--older-than-mins",
    "-m",
    "age_minutes",
    type=click.IntRange(1),
    help="Minutes since the lock, never less than the lease. "
    "[default: UTXO_REAPER_MINUTES, else CLAIM_LEASE_SECONDS]",
)
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1, 100_000),
    help="At most so many. [default: UTXO_REAPER_BATCH_LIMIT]",
)
@dry_run_option
@as_json_option
@with_services
def reap(*, age_minutes: int | None, limit: int | None, dry_run: bool, as_json: bool) -> None:
    """Free outputs that a dead worker has locked and no transaction holds.

    An output that a transaction holds is never freed by its age. Also done every minute by a task.
    """
    if dry_run:
        freed = len(reaper.list_expired(age_minutes=age_minutes, limit=limit))
        show("Would free", {"freed": freed}, as_json=as_json)
    else:
        freed = reaper.reap(age_minutes=age_minutes, limit=limit)
        show("Reaped", {"freed": freed}, as_json=as_json)
    raise SystemExit(int(ExitCode.DONE if freed else ExitCode.NOTHING_TO_DO))


@utxo.command()
@click.option("--txid", required=True, help="The transaction, 64 hex characters.")
@click.option("--vout", required=True, type=click.IntRange(0, 0xFFFFFFFF), help="Which output.")
@click.option("--satoshis", required=True, type=click.IntRange(1), help="What it holds.")
@click.option(
    "--key-identifier",
    "--keyId",
    "key_identifier",
    required=True,
    help="The signer's name of the key that unlocks it.",
)
@click.option("--address", help="Its address, to be compared.")
@click.option("--script", "script_hex", help="Its locking script in hex, to be compared.")
@click.option("--force", is_flag=True, help="Refused: what the chain contradicts can't be added.")
@click.option(
    "--exclusive", is_flag=True, help="Refused: only a sync marks outputs spent, by the chain."
)
@click.option("--confirm", is_flag=True, help="Went with --exclusive; does nothing alone.")
@dry_run_option
@as_json_option
@with_services
def add(  # noqa: PLR0913 - one flag each
    *,
    txid: str,
    vout: int,
    satoshis: int,
    key_identifier: str,
    address: str | None,
    script_hex: str | None,
    force: bool,
    exclusive: bool,
    confirm: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add one output, after chain and signer have confirmed what is said about it.

    \b
    Where addUtxo.js ended with      this ends with
      1  exclusive without confirm     5
      2  spent on chain                5
      3  could not ask                 4
      4  not found at the address      5
      5  amount differs                5
      6  nothing to verify with        2 (wrong usage)
      7  error while verifying         4
    An output that is known already ends with 2; run a sync to have its state checked.
    """
    if force or exclusive:
        flag = "--force" if force else "--exclusive"
        raise CommandError(
            f"{flag} is refused: the pool follows the chain, and only a sync, which asks it, "
            "marks outputs spent. Run: manage.py utxo sync",
            ExitCode.REFUSED,
        )
    claim = pool_add.Claim(txid, vout, satoshis, key_identifier, address, script_hex)
    if dry_run:
        checked, confirmations = pool_add.check(claim)
        values = {"outpoint": str(checked.outpoint), "satoshis": checked.satoshis}
        show("Would add", values | {"confirmations": confirmations}, as_json=as_json)
        return
    added = pool_add.add(claim)
    show("Added" if added.is_new else "Known already", added, as_json=as_json)
    raise SystemExit(int(ExitCode.DONE if added.is_new else ExitCode.NOTHING_TO_DO))


@utxo.command()
@dry_run_option
@as_json_option
@with_services
def maintain(*, dry_run: bool, as_json: bool) -> None:
    """Sync, then sweep the dust, then split: the whole upkeep, as utxo-manager.js did it."""
    with progress(as_json=as_json) as report:
        if dry_run:
            found = pool_sync.survey(Watched.funding(), on_progress=report)
            steps: dict[str, Any] = {
                "sync": _pool_views.counts(found),
                "sweep": _pool_views.sweep_plan_values(pool_sweep.plan_dust()),
                "split": _pool_views.split_plan_values(pool_split.plan()),
            }
        else:
            done = pool_upkeep.maintain(on_progress=report)
            steps = asdict(done)
    if as_json:
        show("Upkeep", steps, as_json=True)
    else:
        for step, values in steps.items():
            show(step, {k: v for k, v in values.items() if not isinstance(v, tuple)}, as_json=False)
    if not dry_run:
        exits = (_split_exit(done.split), _sweep_exit(done.sweep))
        failed = [code for code in exits if code not in (ExitCode.DONE, ExitCode.NOTHING_TO_DO)]
        raise SystemExit(int(failed[0] if failed else ExitCode.DONE))


def _source(
    address: str | None, key_identifier: str | None, destination: str | None
) -> Watched | None:
    """The address to sweep, or None for the pool's dust."""
    if key_identifier is None:
        if address or destination:
            raise click.UsageError("--address and --destination need --key-identifier")
        return None
    return Watched(address or extensions.get().settings.change_address, key_identifier)


def _split_exit(done: SplitReport) -> ExitCode:
    found = _SPLIT_EXITS.get(done.outcome)
    return _unanswered(done.transactions) if found is None else found


def _sweep_exit(done: SweepReport) -> ExitCode:
    found = _SWEEP_EXITS.get(done.outcome)
    return _unanswered(done.transactions) if found is None else found


def _unanswered(sent: Sequence[SentTransaction]) -> ExitCode:
    """Rejected is refused; without a verdict it is stored and will be sent again."""
    return ExitCode.REFUSED if sent[-1].is_dead else ExitCode.SERVICE_AWAY
