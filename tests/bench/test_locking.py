"""Locking coins with 1,000 and with 100,000 of them in the pool.

On the devnet's own database and on the server that BENCH_INDEXED_MONGODB_URI names, with the plan
that it says it used for the very query that was sent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from bson import ObjectId
from pymongo import UpdateOne

from app import extensions
from app.bitcoin.scripts import data_locking_script
from app.bitcoin.transactions import TxOutput
from app.domain.clock import utc_now
from app.domain.lots import Stretch, new_lot
from app.domain.selection import Need
from app.domain.states import UtxoStatus
from app.models.utxo import Utxo
from app.services import pool
from tests.bench.counting import counting
from tests.bench.measuring import Clock, Cost, cpu_of, measure, middle, show
from tests.integration.services.lab import Lab

SIZES = (1_000, 100_000)
NEEDS = (1, 100)
# Small and large take turns; where it is slow there are fewer rounds.
MOST_TURNS = 100
ROUNDS_A_TURN = 5
BUDGET_SECONDS = 15.0
DEFAULT_PORT = 27017
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


@dataclass
class Taken:
    """What the rounds of a work took. The server's CPU ticks too slowly for a single round."""

    costs: list[Cost] = field(default_factory=list)
    server_seconds: float = 0.0

    def add(self, work: Callable[[], Cost], server_clock: Clock) -> None:
        """Does the work once more; the server's clock runs while it does."""
        started = server_clock()
        self.costs.append(work())
        self.server_seconds += server_clock() - started

    @property
    def cost(self) -> Cost:
        return middle(self.costs)

    @property
    def server_milliseconds(self) -> float:
        return self.server_seconds * 1000 / len(self.costs)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_locking_on_the_embedded_database(lab: Lab) -> None:
    """It stops at no limit, so what is read without lots is the whole pool."""
    _compare(lab, "the devnet's database", lab.env["MONGODB_URI"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_locking_on_a_server_that_uses_the_index(lab: Lab) -> None:
    """Another server, for which the same is to hold."""
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
    clock = cpu_of([_process_behind(uri)])
    taken = {needs: _measure(lab, pools, needs, clock) for needs in NEEDS}
    plans = [_explain(lab, each, needs) for each in pools for needs in NEEDS]
    few, many = (f"{coins:,} coins" for coins in SIZES)
    show(
        f"Locking on {server}: milliseconds, and CPU milliseconds of the server",
        ["", f"{few}, ms", f"{many}, ms", "x", f"{few}, CPU", f"{many}, CPU", "x CPU", "rounds"],
        [_row(needs, name, costs) for needs in NEEDS for name, costs in taken[needs].items()],
    )
    show(
        f"The query for coins, explained by {server}",
        ["", "plan", "index", "returned", "documents examined", "keys examined"],
        plans,
    )


def _process_behind(uri: str) -> psutil.Process:
    """The server's process: it is on this machine, and listens where the URI says."""
    port = urlsplit(uri).port or DEFAULT_PORT
    return next(
        process
        for process in psutil.process_iter()
        if any(
            socket.status == psutil.CONN_LISTEN and socket.laddr.port == port
            for socket in _sockets(process)
        )
    )


def _sockets(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections("tcp")
    except psutil.Error:
        # It has ended, or is somebody else's.
        return []


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
        "lot": new_lot(),
        "locking_script": f"76a914{number:040x}88ac",
        "key_identifier": key_identifier,
        "address": f"address-{number}",
        "status": UtxoStatus.AVAILABLE.value,
        "held": False,
        "created_at": now,
        "updated_at": now,
    }


def _measure(
    lab: Lab, pools: Sequence[Pool], needs: int, server_clock: Clock
) -> dict[str, dict[int, Taken]]:
    """Works in small and large pools in turn; answers what it took by work and size of the pool."""
    taken: dict[str, dict[int, Taken]] = {}
    for name, (work, most_turns, rounds) in WORKS.items():
        taken[name] = {each.coins: Taken() for each in pools}
        for each in pools:
            # What a process learns of a pool it learns with its first locks.
            _configure(lab, each)
            _lock(lab, needs)
        deadline = time.monotonic() + BUDGET_SECONDS
        for number in range(most_turns):
            if number and time.monotonic() > deadline:
                break
            # Neither is always the first after a pause.
            for each in pools[:: 1 if number % 2 else -1]:
                _configure(lab, each)
                # Opens the connection.
                lab.collection("utxos").find_one({"_id": "none"})
                for _ in range(rounds):
                    taken[name][each.coins].add(partial(work, lab, needs), server_clock)
    return taken


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
    """Locks as many by a query and updates of the same kind without anything around them."""
    collection = lab.collection("utxos")
    lock_ids = [ObjectId() for _ in range(needs)]
    limit = 2 * needs + 32
    coins = next(size for size in SIZES if lab.settings.db_name.endswith(f"_{size}"))
    lots = Stretch.somewhere(limit / coins)
    mine = {**_available(lab), "lot": {"$gte": lots.first, "$lt": lots.end}}

    def lock() -> int:
        found = list(collection.find(mine, limit=4 * limit, batch_size=4 * limit))
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


def _list_best(lab: Lab, needs: int) -> Cost:
    """Lists the best of all, which `pool.lock` does only where a draw has not sufficed."""
    limit = 2 * needs + 32

    def read() -> int:
        found = lab.collection("utxos").find(_available(lab), limit=limit, batch_size=limit)
        assert len(list(found.sort("satoshis", -1))) == limit
        return 1

    return measure(read)


def _available(lab: Lab) -> dict[str, Any]:
    return {
        "status": UtxoStatus.AVAILABLE.value,
        "key_identifier": lab.settings.utxo_funding_key_identifier,
    }


# The turns, and how often in each. Where the whole pool is read once says enough.
WORKS: Mapping[str, tuple[Callable[[Lab, int], Cost], int, int]] = {
    "pool.lock": (_lock, MOST_TURNS, ROUNDS_A_TURN),
    "bare": (_lock_bare, MOST_TURNS, ROUNDS_A_TURN),
    "best of all": (_list_best, 1, 1),
}


def _needs(number: int) -> dict[ObjectId, Need]:
    output = TxOutput(0, data_locking_script([bytes(200)]))
    return {ObjectId(): Need((output,), SATOSHIS_PER_KILOBYTE) for _ in range(number)}


def _explain(lab: Lab, of: Pool, needs: int) -> list[object]:
    """Has the server explain the find that `pool.lock` sends; nothing more is fetched for it."""
    with counting() as counts:
        _configure(lab, of)
        _lock(lab, needs)
    assert "getMore" not in counts.names
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


def _row(needs: int, name: str, taken: Mapping[int, Taken]) -> list[object]:
    few, many = (taken[coins] for coins in SIZES)
    return [
        f"{name}, {needs}",
        few.cost.milliseconds,
        many.cost.milliseconds,
        _ratio(few.cost.milliseconds, many.cost.milliseconds),
        few.server_milliseconds,
        many.server_milliseconds,
        _ratio(few.server_milliseconds, many.server_milliseconds),
        len(few.costs),
    ]


def _ratio(few: float, many: float) -> str:
    return f"{many / few:.2f}" if few else "-"
