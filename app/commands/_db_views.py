"""How `manage.py db` shows what it found to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from app.commands._console import show, show_rows
from app.models.indexes import IndexComparison
from app.services.chain_repair import Comparison
from app.services.invariants import Report
from app.services.migrating import MigrationStatus
from app.services.older_report import ImportReport


def print_status(now: MigrationStatus) -> None:
    rows = [(name, "applied") for name in now.applied if name not in (*now.changed, *now.unknown)]
    rows += [(name, "applied; its file has changed since") for name in now.changed]
    rows += [(name, "applied by another release, unknown to this one") for name in now.unknown]
    rows += [(name, _pending(name, now)) for name in now.pending]
    show_rows("Migrations", ("migration", "state"), sorted(rows))
    print_indexes(now.indexes)
    if now.awaits_comparison_since is not None:
        click.echo(
            f"The database came out of a dump at {now.awaits_comparison_since.isoformat()} and was "
            "not compared with the chain yet: run `manage.py db compare`"
        )


def _pending(name: str, now: MigrationStatus) -> str:
    failure = now.failed.get(name)
    return "pending" if failure is None else f"pending; its last run failed: {failure}"


def print_indexes(found: IndexComparison) -> None:
    rows = [(text, "missing") for text in found.missing]
    rows += [(text, "different") for text in found.different]
    rows += [(text, "extra, left alone") for text in found.extra]
    show_rows("Indexes", ("index", "state"), rows)
    if not rows:
        click.echo("All indexes are there.")


def print_comparison(found: Comparison, extra: Mapping[str, Any], now: Report) -> None:
    summary = {
        "restored_at": found.restored_at,
        "asked_the_chain_about": found.asked,
        "not_on_the_chain,_sent_again": len(found.not_on_chain),
        "on_the_chain,_not_taken_over": len(found.behind),
        "on_the_chain,_not_in_the_database": len(found.unknown),
        "records_that_those_carry": len(found.carried),
        "records_that_are_lost": len(found.lost),
        "registrations_that_a_lost_batch_may_carry": len(found.uncertain),
        **{name: value for name, value in extra.items() if name in ("released", "is_open")},
        "broken_invariants": len(now.violations),
    }
    show("Database and chain", summary, as_json=False)
    rows = [(each.txid, each.kind, each.uid_tag_id) for each in found.lost]
    show_rows("On the chain, and in no dump", ("transaction", "kind", "patch moved"), rows)
    for violation in now.violations:
        click.echo(f"{violation.rule}: {violation.detail} ({', '.join(violation.ids)})")


def print_import(done: ImportReport) -> None:
    title = "Would be imported" if done.is_dry_run else "Imported"
    rows = [
        (collection, outcome.replace("_", " "), number)
        for collection, counter in done.counts.items()
        for outcome, number in counter.items()
    ]
    rows += [(name, "left out", number) for name, number in done.left_out.items()]
    show_rows(title, ("collection", "what", "rows"), rows)
    notes = [(n.collection, n.id, n.uid_tag_id, n.outcome.value, n.reason) for n in done.notes]
    show_rows("Not simply taken", ("collection", "row", "patch", "what", "why"), notes)
