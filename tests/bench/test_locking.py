"""Locking coins with 1,000 and with 100,000 of them in the pool.

On the devnet's own database, which scans, and on the server that BENCH_INDEXED_MONGODB_URI names,
with the plan that it says it used for the very query that was sent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from bson import ObjectId
from pymongo import UpdateOne

from app import extensions
from app.bitcoin.scripts import data_locking_script
from app.bitcoin.transactions import TxOutput
from app.domain.clock import utc_now
from app.domain.selection import Need
from app.domain.states import UtxoStatus
from app.models.utxo import Utxo
from app.services import pool
from tests.bench.counting import counting
from tests.bench.measuring import Cost, measure, middle, show
from tests.integration.services.lab import Lab

SIZES = (1_000, 100_000)
NEEDS = (1, 100)
# Small and large take turns; where a scan is slow there are fewer rounds.
MOST_ROUNDS = 15
BUDGET_SECONDS = 5.0
INDEXED = "BENCH_INDEXED_MONGODB_URI"
SATOSHIS_PER_KILOBYTE = 100
_INSERT_ROWS = 10_000
_FACTS = ("nReturned", "totalDocsExamined", "totalKeysExamined")


@dataclass(frozen=True)
class Pool:
    """A database with so many coins that can be spent."""

    uri: str
    coins: int

    @property
    def db_name(self) -> str:
        return f"bench_locking_{self.coins}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_locking_on_the_embedded_database(lab: Lab) -> None:
    """It scans: its cost grows with the pool, of the bare query as well."""
    _compare(lab, "the devnet's database", lab.env["MONGODB_URI"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_locking_on_a_server_that_uses_the_index(lab: Lab) -> None:
    """Its cost does not depend on the size of the pool."""
    uri = os.environ.get(INDEXED)
    if uri is None:
        print(f"\n{INDEXED} names no server that uses indexes: nothing is measured on one")
        return
    try:
        _compare(lab, f"the server of {INDEXED}", uri)
    finally:
        for coins in SIZES:
            each = Pool(uri, coins)
            _configure(lab, each)
            extensions.get().database.drop_database(each.db_name)


def _compare(lab: Lab, server: str, uri: str) -> None:
    pools = [Pool(uri, coins) for coins in SIZES]
    for each in pools:
        _fill(lab, each)
    taken = {needs: _measure(lab, pools, needs) for needs in NEEDS}
    plans = [_explain(lab, each, needs) for each in pools for needs in NEEDS]
    few, many = (f"{coins:,} coins, ms" for coins in SIZES)
    show(
        f"Locking on {server}",
        ["", few, many, "x"],
        [_row(needs, name, costs) for needs in NEEDS for name, costs in taken[needs].items()],
    )
    show(
        f"The query for candidates, explained by {server}",
        ["", "plan", "index", "returned", "documents examined", "keys examined"],
        plans,
    )


def _configure(lab: Lab, of: Pool) -> None:
    lab.configure(MONGODB_URI=of.uri, DB_NAME=of.db_name)


def _fill(lab: Lab, of: Pool) -> None:
    _configure(lab, of)
    extensions.get().database.drop_database(of.db_name)
    Utxo.ensure_indexes()
    key_identifier = lab.settings.utxo_funding_key_identifier
    for start in range(0, of.coins, _INSERT_ROWS):
        numbers = range(start, min(start + _INSERT_ROWS, of.coins))
        rows = [_coin(number, key_identifier) for number in numbers]
        lab.collection("utxos").insert_many(rows, ordered=False)


def _coin(number: int, key_identifier: str) -> dict[str, Any]:
    now = utc_now()
    return {
        "_id": f"{number:064x}:0",
        # Many sizes in no order, as change leaves them.
        "satoshis": 1_000 + number * 7_919 % 100_003,
        "locking_script": f"76a914{number:040x}88ac",
        "key_identifier": key_identifier,
        "address": f"address-{number}",
        "status": UtxoStatus.AVAILABLE.value,
        "held": False,
        "created_at": now,
        "updated_at": now,
    }


def _measure(lab: Lab, pools: Sequence[Pool], needs: int) -> dict[str, dict[int, Cost]]:
    """Locks in small and large pools in turn; answers the cost by work and by size of the pool."""
    works: dict[str, Callable[[Lab, int], Cost]] = {"pool.lock": _lock, "bare": _lock_bare}
    taken: dict[str, dict[int, list[Cost]]] = {
        name: {each.coins: [] for each in pools} for name in works
    }
    for each in pools:
        # What a process learns of a pool it learns with its first lock.
        _configure(lab, each)
        _lock(lab, needs)
    deadline = time.monotonic() + BUDGET_SECONDS
    for number in range(MOST_ROUNDS):
        if number and time.monotonic() > deadline:
            break
        for each in pools:
            _configure(lab, each)
            # Opens the connection.
            lab.collection("utxos").find_one({"_id": "none"})
            for name, work in works.items():
                taken[name][each.coins].append(work(lab, needs))
    return {
        name: {coins: middle(costs) for coins, costs in by_size.items()}
        for name, by_size in taken.items()
    }


def _lock(lab: Lab, needs: int) -> Cost:
    wanted = _needs(needs)
    key_identifier = lab.settings.utxo_funding_key_identifier

    def lock() -> int:
        assert len(pool.lock(wanted, key_identifier=key_identifier)) == needs
        return 1

    cost = measure(lock)
    Utxo.release_unheld(list(wanted))
    return cost


def _lock_bare(lab: Lab, needs: int) -> Cost:
    """The same query and updates without anything around them."""
    collection = lab.collection("utxos")
    lock_ids = [ObjectId() for _ in range(needs)]
    mine = {
        "status": UtxoStatus.AVAILABLE.value,
        "key_identifier": lab.settings.utxo_funding_key_identifier,
    }

    def lock() -> int:
        found = list(collection.find(mine).sort("satoshis", -1).limit(2 * needs + 32))
        result = collection.bulk_write(
            [
                UpdateOne(
                    {"_id": row["_id"], "status": row["status"]},
                    {"$set": {"status": UtxoStatus.LOCKED.value, "lock_id": lock_id}},
                )
                for row, lock_id in zip(found, lock_ids, strict=False)
            ],
            ordered=False,
        )
        assert result.modified_count == needs
        return 1

    cost = measure(lock)
    Utxo.release_unheld(lock_ids)
    return cost


def _needs(number: int) -> dict[ObjectId, Need]:
    output = TxOutput(0, data_locking_script([bytes(200)]))
    return {ObjectId(): Need((output,), SATOSHIS_PER_KILOBYTE) for _ in range(number)}


def _explain(lab: Lab, of: Pool, needs: int) -> list[object]:
    """Has the server explain the find that `pool.lock` sends."""
    with counting() as counts:
        _configure(lab, of)
        _lock(lab, needs)
    sent = next(command for name, command in counts.commands if name == "find")
    database = extensions.get().database[of.db_name]
    query = {name: sent[name] for name in ("find", "filter", "sort", "limit") if name in sent}
    answer = database.command("explain", query, verbosity="executionStats")
    plan = answer["queryPlanner"]["winningPlan"]
    stats = answer.get("executionStats", {})
    stages = list(_stages(plan))
    index = next((stage["indexName"] for stage in stages if "indexName" in stage), "none")
    facts = [stats.get(name, "-") for name in _FACTS]
    return [f"{of.coins:,}, {needs}", " < ".join(s["stage"] for s in stages), index, *facts]


def _stages(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    while "stage" in plan:
        yield plan
        plan = plan.get("inputStage", {})


def _row(needs: int, name: str, costs: Mapping[int, Cost]) -> list[object]:
    few, many = (costs[coins] for coins in SIZES)
    return [f"{name}, {needs}", few.milliseconds, many.milliseconds, f"{many.over(few)}"]
