"""From pending to settled in one worker process, with batch delivery and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import pytest

from app import extensions
from app.services import anchoring
from tests.bench.counting import counting
from tests.bench.measuring import Cost, Work, measure, middle, show
from tests.bench.raw import BareChain, BareSigner, bulk_writes
from tests.integration.services.lab import Lab

ROUNDS = 3
# The pool is never what limits a batch.
COINS = 250
COIN_SATOSHIS = 50_000
READS = frozenset({"find", "aggregate", "count", "getMore"})
_numbers = count()


@dataclass(frozen=True)
class Mode:
    """A broadcaster, how many records a pass takes, and how many passes there are in a round."""

    broadcaster: str
    batch: int
    passes: int

    @property
    def records(self) -> int:
        return self.batch * self.passes

    def __str__(self) -> str:
        return f"{self.broadcaster}, passes of {self.batch}"


@dataclass(frozen=True)
class Asked:
    """What one pass asked of others."""

    calls: int
    reads: int
    writes: int


MODES = {
    "arc": (Mode("arc", 1, 10), Mode("arc", 25, 2), Mode("arc", 100, 1)),
    "whatsonchain": (Mode("whatsonchain", 1, 10), Mode("whatsonchain", 100, 1)),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("broadcaster", MODES)
def test_anchoring(lab: Lab, broadcaster: str) -> None:
    """Beside the bulk writes, the signing and the sending that it can't do without."""
    modes = MODES[broadcaster]
    lab.fill_pool(COINS, COIN_SATOSHIS)
    chain = BareChain(lab, ROUNDS * sum(mode.records for mode in modes))
    signer = BareSigner(lab)
    asked = {}
    costs = {}
    for mode in modes:
        asked[mode] = _count(lab, mode)
        _configure(lab, mode)
        _anchor(lab, mode, mode.batch)
        works = _works(lab, mode, chain, signer, asked[mode].writes)
        costs[mode] = _measure(lab, mode, works)
    chain.close()
    signer.close()
    _show_times(costs)
    _show_asked(asked)


def _works(
    lab: Lab, mode: Mode, chain: BareChain, signer: BareSigner, writes: int
) -> dict[str, Work]:
    """The service, and what it asks of others asked bare, each for one round."""
    collection = lab.collection("raw")
    send = chain.send_batch if mode.broadcaster == "arc" else chain.send_each

    def sign() -> int:
        signer.sign("issuer", mode.batch)
        return signer.sign("funding", mode.batch)

    def passes(once: Callable[[], int]) -> Work:
        return lambda: sum(once() for _ in range(mode.passes))

    return {
        "service": lambda: _pass(mode.records),
        "writes": passes(lambda: bulk_writes(collection, mode.batch, writes)),
        "signer": passes(sign),
        "chain": passes(lambda: send(mode.batch)),
    }


def _measure(lab: Lab, mode: Mode, works: dict[str, Work]) -> dict[str, Cost]:
    taken: dict[str, list[Cost]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        lab.register_many(mode.records, f"NFC-{next(_numbers)}")
        for name, work in works.items():
            taken[name].append(measure(work))
    return {name: middle(costs) for name, costs in taken.items()}


def _configure(lab: Lab, mode: Mode) -> None:
    lab.configure(BROADCASTERS=mode.broadcaster, ANCHOR_BATCH_SIZE=str(mode.batch))


def _anchor(lab: Lab, mode: Mode, records: int) -> None:
    lab.register_many(records, f"NFC-{next(_numbers)}")
    _pass(records)


def _pass(records: int) -> int:
    """Anchors what waits as a worker's task does, pass by pass; answers how many that were."""
    settled = 0
    while settled < records:
        result = anchoring.anchor_due(extensions.get().settings.anchor_batch_size)
        assert result.settled == result.claimed > 0, result
        settled += result.settled
    return settled


def _count(lab: Lab, mode: Mode) -> Asked:
    with counting() as counts:
        _configure(lab, mode)
        # Connections and the look at the pool's level, once a second, are behind it then.
        _anchor(lab, mode, mode.batch)
        lab.register_many(mode.batch, f"NFC-{next(_numbers)}")
        counts.clear()
        _pass(mode.batch)
    reads = sum(name in READS for name in counts.names)
    return Asked(len(counts.calls), reads, len(counts.names) - reads)


def _show_times(costs: dict[Mode, dict[str, Cost]]) -> None:
    rows = []
    for mode, each in costs.items():
        service = each["service"]
        parts = [each[name].milliseconds for name in ("writes", "signer", "chain")]
        ratio = f"{service.milliseconds / sum(parts):.1f}"
        own = [service.per_second, service.milliseconds, service.cpu_milliseconds]
        rows.append([mode, *own, *parts, ratio])
    show(
        "Anchoring in one process, a transaction for each record; raw: the same bulk writes, "
        "signatures and broadcasts, bare, in ms/tx",
        ["", "tx/s", "ms/tx", "CPU ms/tx", "raw writes", "raw signer", "raw chain", "x raw"],
        rows,
    )


def _show_asked(asked: dict[Mode, Asked]) -> None:
    show(
        "Anchoring: what a pass asks of others",
        ["", "HTTP calls", "a record", "reads", "writes", "round trips a record"],
        [
            [
                mode,
                each.calls,
                each.calls / mode.batch,
                each.reads,
                each.writes,
                (each.reads + each.writes) / mode.batch,
            ]
            for mode, each in asked.items()
        ],
    )
