"""What a run has brought: records, what they cost, how long they took."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.stage import Step

# Below this a whole txid does not fit beside the other columns.
WIDTH_FOR_TXIDS = 118
_SHOWN_OF_TXID = 12


@dataclass(frozen=True)
class Row:
    """One record and the transaction that carries it."""

    uid_tag_id: str
    name: str
    kind: str
    status: str
    txid: str
    block_height: int | None
    fee_satoshis: int
    milliseconds: float
    owner: str


@dataclass(frozen=True)
class Report:
    """A whole run; `seconds` from the command to here."""

    rows: Sequence[Row]
    steps: Sequence[Step]
    seconds: float

    @property
    def average_fee_satoshis(self) -> float:
        return sum(row.fee_satoshis for row in self.rows) / len(self.rows)

    def milliseconds_at(self, share: float) -> float:
        """Milliseconds from request to accepted that `share` of the records needed at most."""
        ordered = sorted(row.milliseconds for row in self.rows)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    def to_json(self) -> dict[str, Any]:
        average = round(self.average_fee_satoshis, 2)
        return {
            "status": "done",
            "records": [asdict(row) for row in self.rows],
            "cost": {
                "satoshis_per_record": average,
                "satoshis_per_1000_records": round(self.average_fee_satoshis * 1000),
            },
            "milliseconds_from_request_to_accepted": {
                "p50": self.milliseconds_at(0.50),
                "p95": self.milliseconds_at(0.95),
            },
            "steps": [
                {"title": step.title, "seconds": round(step.seconds, 2)} for step in self.steps
            ],
            "seconds": round(self.seconds, 1),
        }


def print_report(console: Console, report: Report, full_report: str) -> None:
    """Prints the table and the sums; shortened txids are whole in the file `full_report`."""
    is_wide = console.width >= WIDTH_FOR_TXIDS
    console.print(_table(report.rows, is_wide=is_wide))
    per_record = report.average_fee_satoshis
    console.print(
        f"Cost: [bold]{per_record:.1f} satoshis[/] a record, {per_record * 1000:.0f} for 1000",
        highlight=False,
    )
    console.print(
        "From request to accepted by the network: "
        f"[bold]{report.milliseconds_at(0.50):.0f} ms[/] for half of them (p50), "
        f"{report.milliseconds_at(0.95):.0f} ms for 95 of 100 (p95)",
        highlight=False,
    )
    if not is_wide:
        console.print(
            f"Whole txids: {full_report}, or a window of {WIDTH_FOR_TXIDS} columns",
            highlight=False,
            soft_wrap=True,
        )


def _table(rows: Sequence[Row], *, is_wide: bool) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("uid", "record", "status", "txid"):
        table.add_column(name, no_wrap=True)
    for name in ("block", "fee", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.uid_tag_id,
            row.kind,
            row.status,
            row.txid if is_wide else f"{row.txid[:_SHOWN_OF_TXID]}…",
            str(row.block_height),
            str(row.fee_satoshis),
            f"{row.milliseconds:.0f}",
        )
    return table


def to_text(report: Report) -> str:
    """The report for a program, one JSON object."""
    return json.dumps(report.to_json(), ensure_ascii=False, indent=2)
