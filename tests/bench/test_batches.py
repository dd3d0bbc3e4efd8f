"""Many registrations in one transaction, beside a transaction for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count

import pytest

from app.models.transaction import ChainTransaction
from app.services import anchoring, batches, verification
from tests.bench.counting import counting
from tests.bench.measuring import Cost, measure, repeat, show
from tests.integration.services.lab import Lab

READS = frozenset({"find", "aggregate", "count", "getMore"})
COINS = 500
VERIFICATIONS = 50
_numbers = count()


@dataclass(frozen=True)
class Way:
    """How so many records are anchored."""

    name: str
    records: int
    anchor: Callable[[int], int]

    def __str__(self) -> str:
        return f"{self.name} of {self.records}"


@dataclass(frozen=True)
class Seen:
    """What it took, what it asked of others, and what it left behind."""

    cost: Cost
    calls: int
    reads: int
    writes: int
    size_bytes: int
    satoshis: int


def _pass(records: int) -> int:
    return anchoring.anchor_due(records).settled


def _batch(records: int) -> int:
    return batches.anchor_waiting(records).updated


WAYS = (
    Way("a transaction each, a pass", 100, _pass),
    Way("a batch", 100, _batch),
    Way("a batch", batches.MAX_RECORDS, _batch),
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_batches(lab: Lab) -> None:
    """Time, round trips and satoshis a record."""
    lab.configure(BROADCASTERS="arc")
    lab.fill_pool(COINS, 50_000)
    seen, uids = {}, {}
    for way in WAYS:
        seen[way], uids[way] = _see(lab, way)
    _show(seen)
    _show_verifying(uids)


def _see(lab: Lab, way: Way) -> tuple[Seen, str]:
    with counting() as counts:
        lab.configure(BROADCASTERS="arc")
        # Connections and the look at the pool's level are behind it then.
        _register(lab, 2)
        way.anchor(2)
        _register(lab, 100)
        counts.clear()
        assert way.anchor(100) == 100
        names, calls = list(counts.names), len(counts.calls)
    lab.configure(BROADCASTERS="arc")
    before = _sums()
    uid = _register(lab, way.records)
    cost = measure(lambda: way.anchor(way.records))
    size, fee = (now - then for now, then in zip(_sums(), before, strict=True))
    reads = sum(name in READS for name in names)
    return Seen(cost, calls, reads, len(names) - reads, size, fee), uid


def _register(lab: Lab, records: int) -> str:
    """Accepts so many; answers the uid of the first."""
    return lab.register_many(records, f"NFC-{next(_numbers)}")[0].uid_tag_id


def _sums() -> tuple[int, int]:
    carriers = ChainTransaction.objects(records__0__exists=True)
    return int(carriers.sum("size_bytes")), int(carriers.sum("fee_satoshis"))


def _show(seen: dict[Way, Seen]) -> None:
    show(
        "Registrations in one transaction, beside a transaction for each (arc)",
        ["", "ms/record", "CPU ms/record", "HTTP calls", "reads", "writes", "bytes/r.", "sat/r."],
        [
            [
                way,
                each.cost.milliseconds,
                each.cost.cpu_milliseconds,
                each.calls,
                each.reads,
                each.writes,
                each.size_bytes / way.records,
                each.satoshis / way.records,
            ]
            for way, each in seen.items()
        ],
    )


def _show_verifying(uids: dict[Way, str]) -> None:
    """A carrier is loaded without its thousand records."""
    rows = []
    for way, uid in uids.items():
        cost = measure(repeat(VERIFICATIONS, partial(verification.verify, uid)))
        rows.append([way, cost.milliseconds, cost.cpu_milliseconds])
    show("Verifying one of them", ["", "ms", "CPU ms"], rows)
