"""What a run prints and what it hands to programs."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from demo.report import WIDTH_FOR_TXIDS, Report, Row, print_report, to_text


def make_row(number: int, *, fee: int = 50, txid: str | None = None) -> Row:
    return Row(
        uid_tag_id=f"04{number:012X}",
        name="Ørsted",
        kind="registration",
        status="authentic",
        txid=txid or f"{number:064x}",
        block_height=112,
        fee_satoshis=fee,
        milliseconds=float(number),
        owner="mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
    )


def printed(report: Report, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_report(console, report, "var/devnet/demo.json")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    ("count", "p50", "p95"), [(1, 1, 1), (2, 1, 2), (20, 10, 19), (25, 13, 24), (100, 50, 95)]
)
def test_percentiles_are_times_that_were_measured(count: int, p50: int, p95: int) -> None:
    report = Report([make_row(number) for number in range(count, 0, -1)], [], 1.0)
    assert (report.milliseconds_at(0.50), report.milliseconds_at(0.95)) == (p50, p95)


def test_program_gets_whole_txids_and_sums() -> None:
    report = Report([make_row(1, fee=56), make_row(2, fee=65)], [], 31.26)
    read = json.loads(to_text(report))
    assert read["cost"] == {"satoshis_per_record": 60.5, "satoshis_per_1000_records": 60500}
    assert [row["txid"] for row in read["records"]] == [f"{1:064x}", f"{2:064x}"]
    assert read["records"][0]["name"] == "Ørsted"
    assert read["seconds"] == 31.3


def test_wide_window_shows_whole_txids() -> None:
    report = Report([make_row(1)], [], 1.0)
    text = printed(report, WIDTH_FOR_TXIDS)
    assert f"{1:064x}" in text
    assert max(len(line) for line in text.splitlines()) <= WIDTH_FOR_TXIDS
    assert "demo.json" not in text


def test_narrow_window_shows_beginnings_and_says_where_the_rest_is() -> None:
    text = printed(Report([make_row(1, txid="0123456789abcdef" * 4)], [], 1.0), 80)
    assert "0123456789ab…" in text
    assert "0123456789abc" not in text
    assert "var/devnet/demo.json" in text
