"""What a sweep costs when there is nothing to do, with many records behind it."""

from __future__ import annotations

import pytest
from bson import ObjectId

from app.domain.clock import utc_now
from app.services import anchoring, reaper, sweeper
from tests.bench.counting import counting
from tests.bench.measuring import Cost, Work, in_turn, repeat, show
from tests.bench.raw import copy_of
from tests.integration.services.lab import Lab

CONFIRMED = 10_000
IN_A_ROUND = 10
ROUNDS = 7
_INSERT_ROWS = 5_000
_UNIQUE = {
    "authentication_records": ("active_key", "head", "txid", "uid_tag_id"),
    "transactions": ("txid",),
    "utxos": (),
}


@pytest.mark.slow
def test_sweeping_with_nothing_to_do(lab: Lab) -> None:
    """Beside one bare find on the sparse index, before and after 10,000 records are confirmed."""
    lab.fill_pool(1)
    anchoring.anchor(lab.register_many(1))
    _finish(lab)
    few = _measure(lab)
    for name, unique in _UNIQUE.items():
        _multiply(lab, name, unique)
    many = _measure(lab)
    queries = _count(lab)
    show(
        f"Sweeping with nothing to do, behind 1 and behind {CONFIRMED:,} confirmed records",
        ["", "queries", "ms behind 1", f"ms behind {CONFIRMED:,}", "CPU ms", "x"],
        [
            [
                name,
                queries[name],
                few[name].milliseconds,
                many[name].milliseconds,
                many[name].cpu_milliseconds,
                many[name].over(few[name]),
            ]
            for name in few
        ],
    )


def _works(lab: Lab) -> dict[str, Work]:
    records = lab.collection("authentication_records")

    def find() -> None:
        due = {"next_attempt_at": {"$lte": utc_now()}, "status": "pending"}
        assert not list(records.find(due))

    def sweep() -> None:
        assert sweeper.sweep().is_empty

    return {
        "sweeper.sweep": repeat(IN_A_ROUND, sweep),
        "reaper.reap": repeat(IN_A_ROUND, reaper.reap),
        "one bare find": repeat(IN_A_ROUND, find),
    }


def _measure(lab: Lab) -> dict[str, Cost]:
    return in_turn(_works(lab), rounds=ROUNDS)


def _count(lab: Lab) -> dict[str, int]:
    queries = {}
    with counting() as counts:
        lab.configure()
        for name, work in _works(lab).items():
            counts.clear()
            work()
            queries[name] = len(counts.names) // IN_A_ROUND
    return queries


def _finish(lab: Lab) -> None:
    """Has the one transaction at its end, as it is six blocks later."""
    lab.collection("transactions").update_many(
        {}, {"$set": {"status": "final"}, "$unset": {"next_attempt_at": 1}}
    )


def _multiply(lab: Lab, name: str, unique: tuple[str, ...]) -> None:
    collection = lab.collection(name)
    sample = collection.find_one({"status": {"$in": ["confirmed", "final", "spent"]}})
    for _ in range(0, CONFIRMED, _INSERT_ROWS):
        rows = [copy_of(sample, unique) for _ in range(_INSERT_ROWS)]
        for row in rows:
            row["transaction_id"] = ObjectId()
        collection.insert_many(rows, ordered=False)
