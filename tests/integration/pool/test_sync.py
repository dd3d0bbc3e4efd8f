"""The pool follows the chain, and no hiccup of a service empties it."""

from __future__ import annotations

import pytest
from bson import ObjectId

from app import extensions
from app.bitcoin.addresses import Network
from app.clients.outcomes import ServiceUnavailableError
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import pool_split, pool_sync
from tests.integration.pool.world import World
from tests.integration.services.invariants import check_money


def test_new_outputs_enter_and_wait_for_their_confirmation(world: World) -> None:
    [point] = world.fund(1, 5000)

    first = pool_sync.sync()
    assert (first.listed, first.added, first.confirmed) == (1, 1, 0)
    assert world.status(point) == "unconfirmed"

    world.mine()
    second = pool_sync.sync()
    assert (second.added, second.confirmed) == (0, 1)
    assert world.status(point) == "available"
    check_money(world)


@pytest.mark.parametrize("needed", [0, 1, 3])
def test_f30_confirmations_are_counted(world: World, needed: int) -> None:
    world.configure(UTXO_MIN_CONFIRMATIONS=str(needed))
    [point] = world.fund(1, 5000)
    for confirmations in range(4):
        pool_sync.sync()
        is_deep = confirmations >= needed
        assert world.status(point) == ("available" if is_deep else "unconfirmed")
        world.mine()


def test_f31_the_number_of_confirmations_changes_without_a_restart(world: World) -> None:
    [point] = world.fund(1, 5000)
    world.put(UTXO_MIN_CONFIRMATIONS=0)
    pool_sync.sync()
    assert world.status(point) == "available"


def test_every_page_is_read(world: World) -> None:
    world.fund(1100, 1000)
    world.mine()
    assert pool_sync.sync().added == 1100
    assert pool_sync.sync().added == 0
    assert world.statuses() == {"available": 1100}


def test_m2_what_is_listed_keeps_the_status_that_it_has(world: World) -> None:
    locked, held, unconfirmed = world.fill(3, 5000)
    lock_id, hold_id = ObjectId(), ObjectId()
    Utxo.objects(outpoint=locked).update(set__status="locked", set__lock_id=lock_id)
    Utxo.objects(outpoint=held).update(set__status="locked", set__lock_id=hold_id, set__held=True)
    Utxo.objects(outpoint=unconfirmed).update(set__status="unconfirmed")

    report = pool_sync.sync()

    assert (report.added, report.restored, report.spent) == (0, 0, 0)
    assert world.status(locked) == world.status(held) == "locked"
    assert Utxo.objects(outpoint=held).get().lock_id == hold_id
    assert world.status(unconfirmed) == "available"


def test_m7_an_empty_list_changes_nothing(world: World) -> None:
    points = world.fill(30, 5000)
    world.set_faults({"kind": "hide_outputs"})

    report = pool_sync.sync()

    assert (report.listed, report.spent, report.unexplained) == (0, 0, 30)
    assert {world.status(point) for point in points} == {"available"}


def test_m7_a_list_that_lacks_some_changes_nothing(world: World) -> None:
    points = world.fill(5, 5000)
    world.set_faults({"kind": "hide_outputs", "outpoints": points[:2]})

    report = pool_sync.sync()

    assert (report.listed, report.spent, report.unexplained) == (3, 0, 2)
    assert world.statuses() == {"available": 5}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "garbage"},
        {"kind": "garbage", "path": "/unspent"},
        {"kind": "garbage", "path": "/utxos/spent"},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429},
        {"kind": "cut_before"},
        {"kind": "cut_after", "path": "/unspent"},
    ],
    ids=str,
)
def test_m7_an_answer_that_can_not_be_right_changes_nothing(
    world: World, fault: dict[str, object]
) -> None:
    points = world.fill(3, 5000)
    world.spend_outside(points[:1])
    before = world.snapshot()
    world.set_faults(fault)

    with pytest.raises(ServiceUnavailableError):
        pool_sync.sync()

    assert world.snapshot() == before


def test_m7_half_of_the_pages_is_no_list(world: World) -> None:
    world.fund(1100, 1000)
    world.mine()
    pool_sync.sync()
    before = world.snapshot()
    # The first page passes; the second one fails.
    world.set_faults(
        {"kind": "delay", "seconds": 0, "path": "/unspent/all", "times": 1},
        {"kind": "status", "status": 502, "path": "/unspent/all"},
    )

    with pytest.raises(ServiceUnavailableError):
        pool_sync.sync()

    assert world.snapshot() == before


def test_another_networks_tip_changes_nothing(world: World) -> None:
    world.fill(2, 5000)
    before = world.snapshot()
    world.configure(WOC_NETWORK="main", UTXO_FUNDING_ADDRESS=_on_main(world), **_on_main_too(world))

    with pytest.raises(ServiceUnavailableError, match="chain"):
        pool_sync.sync()

    assert world.snapshot() == before


@pytest.mark.parametrize("is_mined", [False, True])
def test_what_others_spend_is_marked_with_their_transaction(world: World, is_mined: bool) -> None:
    gone, kept = world.fill(2, 5000)
    txid = world.spend_outside([gone])
    if is_mined:
        world.mine()

    report = pool_sync.sync()

    assert (report.spent, report.unexplained) == (1, 0)
    assert Utxo.objects(outpoint=gone).get().spent_txid == txid
    assert world.status(kept) == "available"
    check_money(world)


def test_a_spend_that_the_mempool_drops_is_taken_back(world: World) -> None:
    gone, _ = world.fill(2, 5000)
    txid = world.spend_outside([gone])
    pool_sync.sync()
    assert world.status(gone) == "spent"
    world.control("evict", {"txids": [txid]})

    report = pool_sync.sync()

    assert (report.restored, report.confirmed) == (1, 1)
    row = Utxo.objects(outpoint=gone).get()
    assert (row.status, row.spent_txid, row.lock_id) == ("available", None, None)
    check_money(world)


def test_an_output_wrongly_marked_spent_is_taken_back(world: World) -> None:
    wrong, _ = world.fill(2, 5000)
    Utxo.objects(outpoint=wrong).update(set__status="spent", set__spent_txid="ab" * 32)
    assert pool_sync.sync().restored == 1
    assert world.status(wrong) == "available"


def test_m2_what_a_live_transaction_of_ours_spends_is_never_taken_back(world: World) -> None:
    world.fill(1, 50_000)
    done = pool_split.split(target=4)
    [sent] = done.transactions
    assert sent.is_accepted
    # The network has forgotten our transaction, so the chain lists its input again.
    world.control("evict", {"txids": [sent.txid]})

    report = pool_sync.sync()

    assert report.restored == 0
    spent = Utxo.objects(spent_txid=sent.txid).get()
    assert spent.status == "spent"
    assert ChainTransaction.objects(txid=sent.txid).get().status == "accepted"


def test_m2_a_liar_that_lists_what_is_spent_restores_nothing(world: World) -> None:
    gone, _ = world.fill(2, 5000)
    txid = world.spend_outside([gone])
    pool_sync.sync()
    listed = extensions.get().chain.list_unspent(world.address)
    # It is listed, flagged as spent in the mempool.
    assert {f"{each.txid}:{each.vout}": each.is_spent_in_mempool for each in listed}[gone]

    assert pool_sync.sync().restored == 0
    assert Utxo.objects(outpoint=gone).get().spent_txid == txid


def test_an_output_whose_payment_was_undone_is_set_aside_and_comes_back(world: World) -> None:
    _, kept = world.fill(2, 5000)
    [undone] = world.fill(1, 7000)
    raw_tx_hex = extensions.get().chain.find_raw_transaction(undone.split(":")[0])
    world.control("reorg", {"depth": 1, "drop": [undone.split(":")[0]]})

    report = pool_sync.sync()
    assert (report.set_aside, report.spent) == (1, 0)
    assert world.status(undone) == "unconfirmed"
    assert world.status(kept) == "available"

    assert raw_tx_hex is not None
    extensions.get().chain.broadcast(raw_tx_hex, undone.split(":")[0])
    world.mine()
    pool_sync.sync()
    assert world.status(undone) == "available"


def test_change_of_our_own_transaction_is_spendable_whoever_finds_it_first(world: World) -> None:
    world.fill(1, 50_000)
    pool_split.split(target=4)
    # As after a crash between acceptance and settlement.
    Utxo.objects(status="available").delete()

    pool_sync.sync()

    assert world.statuses() == {"available": 4, "spent": 1}
    check_money(world)


def test_a_foreign_script_under_our_address_is_ignored(world: World) -> None:
    """The service's word for a script is compared, where it gives one."""
    [point] = world.fund(1, 5000)
    listed = extensions.get().chain.list_unspent(world.address)
    assert [each.locking_script for each in listed] == [
        bytes.fromhex("76a914") + world.key.public_key.hash160() + bytes.fromhex("88ac")
    ]
    pool_sync.sync()
    assert world.status(point) == "unconfirmed"


def test_the_number_of_queries_does_not_grow_with_the_pool(world: World) -> None:
    counts = []
    for outputs in (5, 300):
        world.fund(outputs, 1000)
        world.mine()
        with world.count_commands() as count:
            pool_sync.sync()
        counts.append(count.total)
    assert counts[0] == counts[1] <= 8


def test_a_survey_writes_nothing(world: World) -> None:
    world.fill(2, 5000)
    world.fund(1, 5000)
    before = world.snapshot()
    found = pool_sync.survey(pool_sync.Watched.funding())
    assert (len(found.new), len(found.confirmed)) == (1, 0)
    assert world.snapshot() == before


def _on_main(world: World) -> str:
    return world.key.public_key.address(Network.MAIN)


def _on_main_too(world: World) -> dict[str, str]:
    return {"UTXO_CHANGE_ADDRESS": _on_main(world), "POS_SHOP_ADDRESSES": ""}
