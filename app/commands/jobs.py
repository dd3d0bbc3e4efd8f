"""`manage.py jobs`: records and transactions that wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import click

from app.commands._console import (
    CommandError,
    ExitCode,
    as_json_option,
    progress,
    show,
    show_rows,
    with_services,
)
from app.errors import BatchAbandonedError, PoolEmptyError
from app.services import batches
from app.services import jobs as service
from app.services.batches import BatchReport
from app.services.jobs import Replay, Stuck

HELP = """Records and transactions that wait, why, and how to move them on.

Queues carry only wake-ups: what has to be done is in the database and the sweeper finds it there.
So nothing here is needed in normal life, but batch-anchor where many records are to share one
transaction. Nothing here builds a second transaction: what has bytes is sent again with the same
bytes.

\b
Exit codes:
  0  done
  1  wrong settings, or a defect
  2  nothing is stuck or waits, or wrong usage
  3  somebody else anchors a batch
  4  database, Redis or another service are away
  5  refused, with the reason

\b
In place of the older scripts:
  batchAnchor.js --limit N          jobs batch-anchor --limit N
  jobs:check-failed                 jobs list-stuck --states failed   (here 0 when there are any)
  jobs:report-failed -q Q -n N      jobs list-stuck --limit N         (there is one list, no queues)
  jobs:report-failed --retry        jobs replay ID...
  jobs:report-failed --requeue      jobs replay --all
  jobs:recover-orphaned             jobs replay --all --states anchoring --stuck-mins 15
      --states, --stuck-mins, --limit, --dry-run   the same names
      --requeue                                    --sweep: it is done here and now
A failed record is not replayed: its uid is free, and it is sent anew.
"""

_DEFAULT_LIMIT = 200


def _read_states(_: click.Context, __: click.Parameter, text: str | None) -> Sequence[str]:
    if text is None:
        return service.WAITING_STATES
    known = [*service.RECORD_STATES, *service.TRANSACTION_STATES]
    states = [part.strip() for part in text.split(",")]
    for state in states:
        if state not in known:
            raise click.BadParameter(f"{state!r} is none of {', '.join(known)}")
    return states


limit_option = click.option(
    "--limit",
    "-n",
    type=click.IntRange(1, 100_000),
    default=_DEFAULT_LIMIT,
    show_default=True,
    help="At most so many.",
)
states_option = click.option(
    "--states",
    callback=_read_states,
    help="Only in these states, with commas between them. [default: all that wait, not failed]",
)


def _older_than_option(default: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--older-than-mins",
        "--stuck-mins",
        "-m",
        "older_than_minutes",
        type=click.IntRange(0),
        default=default,
        show_default=True,
        help="Only what has waited so long.",
    )


@click.group(help=HELP)
def jobs() -> None:
    """Hold the commands together."""


@jobs.command("list-stuck")
@_older_than_option(15)
@states_option
@limit_option
@as_json_option
@with_services
def list_stuck(
    *, older_than_minutes: int, states: Sequence[str], limit: int, as_json: bool
) -> None:
    """List what waits, with its reason, age, tries and next attempt; the oldest first.

    Exit code 0 when there is something, 2 when nothing is stuck.

    \b
    Example:
      manage.py jobs list-stuck -m 0 --json | jq -r '.stuck[].id'
    """
    stuck = service.list_stuck(
        older_than=timedelta(minutes=older_than_minutes), states=states, limit=limit
    )
    if as_json:
        show("Stuck", {"stuck": [_as_values(each) for each in stuck]}, as_json=True)
    else:
        _print_stuck(stuck)
    raise SystemExit(int(ExitCode.DONE if stuck else ExitCode.NOTHING_TO_DO))


@jobs.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "is_all", is_flag=True, help="Everything that list-stuck shows.")
@_older_than_option(0)
@states_option
@limit_option
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Show what would be done.")
@click.option("--sweep", "is_swept", is_flag=True, help="Do the work here and now as well.")
@as_json_option
@with_services
def replay(  # noqa: PLR0913 - one flag each
    *,
    ids: Sequence[str],
    is_all: bool,
    older_than_minutes: int,
    states: Sequence[str],
    limit: int,
    is_dry_run: bool,
    is_swept: bool,
    as_json: bool,
) -> None:
    """Make records and transactions due now, instead of at their next attempt.

    They go on from where they are; a transaction that has bytes is sent again with the same
    bytes. The sweeper does it within seconds, or --sweep at once. Exit code 2 when there is
    nothing to replay, 5 when an ID is refused; the others are replayed all the same.
    """
    if is_all == bool(ids):
        raise click.UsageError("give IDs or --all")
    if is_all:
        older_than = timedelta(minutes=older_than_minutes)
        stuck = service.list_stuck(older_than=older_than, states=states, limit=limit)
        ids = [each.id for each in stuck]
    replays = service.plan_replay(ids) if is_dry_run else service.replay(ids)
    due = [each.id for each in replays if each.is_due]
    left = None
    if is_swept and due and not is_dry_run:
        with progress(as_json=as_json) as report:
            left = service.sweep(due, report)
    _print_replays(replays, left, is_dry_run=is_dry_run, as_json=as_json)
    raise SystemExit(int(_replay_exit(replays, is_all=is_all)))


@jobs.command()
@click.argument("record_id", metavar="ID")
@click.option("--reason", required=True, help="What the record will say about its end.")
@as_json_option
@with_services
def fail(*, record_id: str, reason: str, as_json: bool) -> None:
    """Give a record up, so that its uid is free again.

    Only while it is pending and nobody has claimed it, so that nothing which carries it can reach
    the chain. Anything else is refused with exit code 5 and the reason.
    """
    if not reason.strip():
        raise CommandError("the reason is empty", ExitCode.REFUSED)
    record = service.fail(record_id, reason.strip())
    values = {"id": str(record.id), "uid_tag_id": record.uid_tag_id, "status": record.status}
    show("Given up", values | {"reason": record.reason}, as_json=as_json)


@jobs.command("batch-anchor")
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1, batches.MAX_RECORDS),
    default=batches.DEFAULT_RECORDS,
    show_default=True,
    help="At most so many records.",
)
@as_json_option
@with_services
def batch_anchor(*, limit: int, as_json: bool) -> None:
    """Anchor registrations that wait in one transaction, due or not.

    It costs about as much however many there are. Each record keeps the path that proves it.
    Transfers go alone. One call at a time, on all hosts together and with the admin route.

    Exit code 0 when they are confirmed, 2 when none waits, 4 when the network has not answered:
    then the transaction is stored and the sweeper sends it again. 5 when nothing in the pool pays
    for it, or the network refused it; the records wait as before.

    \b
    Example:
      manage.py jobs batch-anchor --limit 1000 --json | jq -r .txid
    """
    with progress(as_json=as_json) as report:
        try:
            done = batches.anchor_waiting(limit, on_progress=report)
        except (PoolEmptyError, BatchAbandonedError) as error:
            raise CommandError(error.message, ExitCode.REFUSED) from error
    if done.txid is None and not as_json:
        click.echo("no registration waits")
    else:
        show("Batch", done, as_json=as_json)
    raise SystemExit(int(_batch_exit(done)))


def _batch_exit(done: BatchReport) -> ExitCode:
    if done.txid is None:
        return ExitCode.NOTHING_TO_DO
    return ExitCode.DONE if done.is_settled else ExitCode.SERVICE_AWAY


def _as_values(stuck: Stuck) -> dict[str, object]:
    values = asdict(stuck)
    values["next_attempt_at"] = _iso(stuck.next_attempt_at)
    return values


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _print_stuck(stuck: Sequence[Stuck]) -> None:
    if not stuck:
        click.echo("nothing is stuck")
    show_rows(
        "Stuck",
        ("what", "id", "state", "for", "minutes", "tries", "next attempt", "reason"),
        [
            (
                each.kind.value,
                each.id,
                each.status,
                each.subject,
                round(each.age_seconds / 60, 1),
                each.tries,
                _iso(each.next_attempt_at),
                each.reason,
            )
            for each in stuck
        ],
    )


def _print_replays(
    replays: Sequence[Replay], left: int | None, *, is_dry_run: bool, as_json: bool
) -> None:
    if as_json:
        values = {"dry_run": is_dry_run, "replays": [asdict(each) for each in replays]}
        show("Replay", values | {"still_waiting": left}, as_json=True)
        return
    if not replays:
        click.echo("nothing is stuck")
    rows = [(each.kind, each.id, each.is_due, each.outcome) for each in replays]
    show_rows("Would replay" if is_dry_run else "Replayed", ("what", "id", "due", "how"), rows)
    if left is not None:
        click.echo(f"{left} still wait: see jobs list-stuck" if left else "all of them have ended")


def _replay_exit(replays: Sequence[Replay], *, is_all: bool) -> ExitCode:
    if not is_all and not all(each.is_due for each in replays):
        return ExitCode.REFUSED
    return ExitCode.DONE if any(each.is_due for each in replays) else ExitCode.NOTHING_TO_DO
