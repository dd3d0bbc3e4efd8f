"""Coins are drawn by lot: what it costs, and that nobody goes without while there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from bson import ObjectId
from pymongo import UpdateOne, monitoring

from app import extensions
from app.bitcoin.transactions import Outpoint, TxOutput
from app.domain.lots import LOTS
from app.domain.selection import Need
from app.domain.states import UtxoStatus
from app.models.utxo import NewUtxo, Utxo
from app.services import drawing, knobs, pool, pool_split
from tests.integration.services.lab import Lab

KEY = "drawn"
SMALL = Need((), 100)


class Asked(monitoring.CommandListener):
    """What the database was asked, in order."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, Mapping[str, Any]]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append((event.command_name, event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Only the questions count."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Only the questions count."""

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.commands]


@pytest.fixture
def asked(lab: Lab) -> Iterator[Asked]:
    """Listens to the connection of the services."""
    asked = Asked()
    listeners = monitoring._LISTENERS.command_listeners
    listeners.append(asked)
    lab.configure()
    yield asked
    listeners.remove(asked)


@pytest.fixture(autouse=True)
def samples(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """A process that has not drawn yet."""
    samples: dict[Any, Any] = {}
    monkeypatch.setattr(drawing, "_samples", samples)
    return samples


def put(amounts: Sequence[int]) -> None:
    """Gives the pool coins, their lots as even as chance would have them on average."""
    Utxo.add_all(
        NewUtxo(
            outpoint=Outpoint(f"{number:064x}", 0),
            satoshis=satoshis,
            locking_script=bytes(25),
            key_identifier=KEY,
            address="address",
            is_spendable=True,
        )
        for number, satoshis in enumerate(amounts)
    )
    Utxo._get_collection().bulk_write(
        [
            UpdateOne({"_id": f"{n:064x}:0"}, {"$set": {"lot": n * LOTS // len(amounts)}})
            for n in range(len(amounts))
        ],
        ordered=False,
    )


def lock(count: int = 1, need: Need = SMALL) -> list[Utxo]:
    """Locks coins for so many; answers all of them."""
    locked = pool.lock({ObjectId(): need for _ in range(count)}, key_identifier=KEY)
    assert len(locked) == count
    return [coin for coins in locked.values() for coin in coins]


def warm_up() -> None:
    """Lets the process learn how wide a stretch it has to take."""
    lock()
    lock()


def examined(lab: Lab, asked: Asked) -> int:
    """Documents that the server looks at for the last find that was sent."""
    sent = next(command for name, command in reversed(asked.commands) if name == "find")
    query = {name: sent[name] for name in ("find", "filter", "limit")}
    database = extensions.get().database[lab.settings.db_name]
    answer = database.command("explain", query, verbosity="executionStats")
    assert "IXSCAN" in str(answer["queryPlanner"]["winningPlan"])
    return int(answer["executionStats"]["totalDocsExamined"])


def test_a_pool_of_six_times_as_many_coins_is_no_dearer(
    lab: Lab, asked: Asked, samples: dict[Any, Any]
) -> None:
    cost = {}
    for size in (200, 1_200):
        Utxo.objects.delete()
        samples.clear()
        put([5_000] * size)
        warm_up()
        asked.commands.clear()
        lock()
        cost[size] = (asked.names, examined(lab, asked))

    assert cost[200][0] == cost[1_200][0] == ["find", "update"]
    assert cost[1_200][1] == pytest.approx(cost[200][1], rel=0.2)
    assert cost[1_200][1] < 50


def test_five_hundred_are_served_by_two_questions(lab: Lab, asked: Asked) -> None:
    put([5_000] * 1_200)
    warm_up()
    asked.commands.clear()

    lock(500)

    # All that was found comes with the first answer.
    assert asked.names == ["find", "update"]


def test_the_largest_of_those_drawn_are_taken(lab: Lab) -> None:
    put([1_000, 9_000, 9_000, 9_000] * 100)
    warm_up()

    assert {coin.satoshis for coin in lock(5)} == {9_000}


def test_best_fit_takes_the_smallest_that_suffices(lab: Lab) -> None:
    lab.configure(POOL_SELECTION="best_fit")
    put([10, 9_000, 1_000, 5_000] * 100)
    warm_up()

    assert {coin.satoshis for coin in lock(5)} == {1_000}


@pytest.mark.parametrize("selection", ["largest", "best_fit"])
def test_the_only_coin_that_pays_is_found_in_any_haystack(lab: Lab, selection: str) -> None:
    lab.configure(POOL_SELECTION=selection)
    put([*[100] * 300, 50_000, *[100] * 300])

    [coin] = lock(need=Need((TxOutput(40_000, b"\x51"),), 100))

    assert coin.satoshis == 50_000


def test_the_last_coins_are_found_one_after_the_other(lab: Lab) -> None:
    put([5_000] * 120)

    taken = [coin.outpoint for _ in range(120) for coin in lock()]

    assert len(set(taken)) == 120
    assert pool.lock({ObjectId(): SMALL}, key_identifier=KEY) == {}


def test_a_pool_that_was_empty_is_seen_to_fill(lab: Lab) -> None:
    assert pool.lock({ObjectId(): SMALL}, key_identifier=KEY) == {}
    put([5_000] * 300)

    # The whole answers as much as it was asked for; how much more there is shows the next draw.
    lock(20)
    lock()
    # The first twenty are missing from one part of the lots only.
    assert 150 < drawing.estimate(KEY, at_least=5_000) < 450


def test_coins_from_before_there_were_lots_are_found_and_get_one(lab: Lab) -> None:
    put([5_000] * 60)
    Utxo.objects(outpoint__gte=f"{10:064x}:0").update(unset__lot=True)
    old = Utxo.objects(lot=None)
    locked = lock(40)
    assert len({coin.outpoint for coin in locked}) == 40
    assert old.count() == 50
    spent = locked[0].outpoint
    Utxo.objects(outpoint=spent).update(set__status=UtxoStatus.SPENT.value, unset__lot=True)

    extensions.ensure_indexes()
    extensions.ensure_indexes()

    # What is spent is never drawn.
    assert [coin.outpoint for coin in old] == [spent]


def test_a_coin_keeps_its_lot(lab: Lab) -> None:
    put([5_000] * 3)
    before = {coin.outpoint: coin.lot for coin in Utxo.objects}
    lock_ids = [coin.lock_id for coin in Utxo.objects(outpoint=lock()[0].outpoint)]

    Utxo.release_unheld(lock_ids)
    Utxo.ensure_indexes()

    assert {coin.outpoint: coin.lot for coin in Utxo.objects} == before
    assert len(set(before.values())) == 3


def test_where_the_draw_saw_plenty_nobody_counts(
    lab: Lab, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.configure(UTXO_FUNDING_KEY_IDENTIFIER=KEY, UTXO_MIN_POOL="50")
    put([50_000] * 300)
    lock()
    today = knobs.load()
    monkeypatch.setattr(pool_split, "_look_again_at", {})
    asked.commands.clear()

    pool_split.ask_if_low(today)

    assert asked.names == []
