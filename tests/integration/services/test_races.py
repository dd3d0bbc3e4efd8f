"""Several processes at the same work: one wins, and the losers leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import pytest
from bson import ObjectId

from app.bitcoin.transactions import TxOutput
from app.domain.selection import Need
from app.domain.states import RecordStatus, TransactionStatus, UtxoStatus
from app.errors import PatchAlreadyRegisteredError, PatchMovedError
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, commitment, delivery, pool, reaper, settlement, sweeper
from tests.integration.services.invariants import anchors_of, check_at_rest, check_confirmed_once
from tests.integration.services.lab import Lab, Owner

Result = TypeVar("Result")


def at_once(count: int, action: Callable[[int], Result]) -> list[Result | Exception]:
    """Runs the action in threads that begin together; answers results and exceptions."""
    barrier = Barrier(count)

    def run(number: int) -> Result | Exception:
        barrier.wait(timeout=30)
        try:
            return action(number)
        except Exception as error:  # noqa: BLE001 - it is the result
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def test_s2_of_twenty_registrations_of_a_uid_one_wins(lab: Lab) -> None:
    lab.fill_pool(3)

    results = at_once(20, lambda _: lab.register("NFC-1"))

    refused = [r for r in results if isinstance(r, PatchAlreadyRegisteredError)]
    assert len(refused) == 19
    assert AuthenticationRecord.objects.count() == 1
    lab.sweep_until_quiet()
    check_confirmed_once(lab, list(AuthenticationRecord.objects))
    assert len(anchors_of(lab, "NFC-1")) == 1


def test_s2_twenty_synchronous_registrations_of_a_uid_make_one_transaction(lab: Lab) -> None:
    lab.configure(JOBS_ASYNC="0")
    lab.fill_pool(20)
    before = lab.accepted_count()

    results = at_once(20, lambda _: lab.register("NFC-1"))

    assert len([r for r in results if isinstance(r, PatchAlreadyRegisteredError)]) == 19
    assert lab.accepted_count() == before + 1
    check_at_rest(lab)


def test_m8_of_eight_transfers_of_a_head_one_wins(lab: Lab) -> None:
    lab.fill_pool(3)
    owner = Owner()
    head = lab.registered("NFC-1", owner).head

    results = at_once(8, lambda _: lab.transfer(head, owner, Owner(), "NFC-1"))

    assert len([r for r in results if isinstance(r, PatchMovedError)]) == 7
    lab.sweep_until_quiet()
    check_at_rest(lab)


def test_p3_eight_that_lock_four_coins_have_four_winners(lab: Lab) -> None:
    lab.fill_pool(4)
    need = Need((), 100)

    def lock(_: int) -> dict[ObjectId, list[Utxo]]:
        return pool.lock({ObjectId(): need}, key_identifier="funding")

    results = at_once(8, lock)

    won = [lock_id for result in results for lock_id in _as_dict(result)]
    coins = [c.outpoint for r in results for coins in _as_dict(r).values() for c in coins]
    assert len(won) == 4
    assert len(set(coins)) == 4
    locked = Utxo.objects(status=UtxoStatus.LOCKED.value)
    assert {utxo.lock_id for utxo in locked} == set(won)


def test_p3_those_that_need_several_coins_each_leave_no_lock_behind(lab: Lab) -> None:
    lab.fill_pool(12, satoshis=500)
    need = Need((TxOutput(800, b"\x51"),), 100)

    results = at_once(6, lambda _: pool.lock({ObjectId(): need}, key_identifier="funding"))

    complete = [coins for result in results for coins in _as_dict(result).values()]
    taken = [coin.outpoint for coins in complete for coin in coins]
    assert complete
    assert len(taken) == len(set(taken))
    assert Utxo.objects(status=UtxoStatus.LOCKED.value).count() == len(taken)


def test_p2_workers_that_anchor_the_same_records_make_one_transaction_each(lab: Lab) -> None:
    lab.fill_pool(16)
    records = lab.register_many(8)
    before = lab.accepted_count()

    results = at_once(4, lambda _: anchoring.anchor_due(100))

    assert not [r for r in results if isinstance(r, Exception)]
    assert lab.accepted_count() == before + 8
    check_confirmed_once(lab, records)


def test_p2_sweepers_at_once_settle_and_deliver_without_harm(lab: Lab) -> None:
    lab.fill_pool(8)
    records = lab.register_many(6)
    _persisted(records[:3])
    transactions = commitment.commit(_persisted(records[3:]))
    assert len(transactions) == 3
    lab.pass_time()

    results = at_once(4, lambda _: sweeper.sweep())

    assert not [r for r in results if isinstance(r, Exception)]
    lab.sweep_until_quiet()
    check_confirmed_once(lab, records)


def test_settling_from_all_sides_at_once_is_settling_once(lab: Lab) -> None:
    lab.fill_pool(8)
    records = lab.register_many(8)
    transactions = commitment.commit(_persisted(records))
    for transaction in transactions:
        lab.broadcast(transaction)

    results = at_once(6, lambda _: settlement.accept(transactions))

    assert not [r for r in results if isinstance(r, Exception)]
    check_confirmed_once(lab, records)


def test_p2_a_sleeper_whose_twin_is_stored_gives_up_and_stores_the_rest(lab: Lab) -> None:
    lab.fill_pool(1)
    [record] = lab.register_many(1)
    [sleeping] = _signed([record])
    lab.pass_time()
    sweeper.sweep()
    reaper.reap()
    lab.sweep_until_quiet()
    # Somebody else made the same bytes of the same record and coin.
    assert lab.transaction_of(lab.reload(record)).txid == sleeping.txid
    lab.fill_pool(1)
    [other] = lab.register_many(1, "OTHER")
    [fresh] = _signed([other])

    stored = commitment.persist([sleeping, fresh])

    assert [transaction.id for transaction in stored] == [fresh.id]
    assert len(delivery.deliver(commitment.commit(stored))) == 1
    check_confirmed_once(lab, [record, other])


def test_m3_a_sleeper_whose_coin_was_reaped_sends_nothing(lab: Lab) -> None:
    lab.fill_pool(1)
    [slow] = lab.register_many(1)
    [transaction] = _signed([slow])
    lab.pass_time()
    assert reaper.reap() == 1
    fast = lab.registered("NFC-fast", Owner())
    before = lab.accepted_count()

    commitment.persist([transaction])
    sent = delivery.deliver(commitment.commit([transaction]))

    assert sent == []
    assert lab.accepted_count() == before
    stored = ChainTransaction.objects.get(id=transaction.id)
    assert (stored.status, stored.next_attempt_at) == (TransactionStatus.ABANDONED, None)
    assert lab.reload(slow).status == RecordStatus.PENDING
    assert lab.reload(slow).transaction_id is None
    lab.sweep_until_quiet()
    check_confirmed_once(lab, [slow, fast])


def test_p2_a_sleeper_whose_record_was_taken_over_sends_nothing(lab: Lab) -> None:
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    [transaction] = _signed([record])
    lab.pass_time()
    sweeper.sweep()
    assert lab.reload(record).status == RecordStatus.CONFIRMED
    before = lab.accepted_count()

    commitment.persist([transaction])
    sent = delivery.deliver(commitment.commit([transaction]))

    assert sent == []
    assert lab.accepted_count() == before
    check_confirmed_once(lab, [record])


def test_p2_a_sleeper_that_commits_while_its_claim_is_freed_stays_the_only_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeper has found no transaction behind a claim; before it acts, there is one."""
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    transactions = _signed([record])
    look = ChainTransaction.existing_ids

    def wake_after_the_look(ids: Sequence[ObjectId]) -> set[ObjectId]:
        found: set[ObjectId] = look(ids)
        commitment.persist(transactions)
        delivery.deliver(commitment.commit(transactions))
        return found

    lab.pass_time()
    monkeypatch.setattr(ChainTransaction, "existing_ids", wake_after_the_look)
    sweeper.sweep()
    monkeypatch.undo()
    lab.sweep_until_quiet()

    assert len(anchors_of(lab, record.uid_tag_id)) == 1
    check_confirmed_once(lab, [record])


def test_p2_a_sleeper_between_commit_and_broadcast_keeps_its_record(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.fill_pool(2)
    [record] = lab.register_many(1)
    transactions = _signed([record])
    look = ChainTransaction.existing_ids
    committed: list[ChainTransaction] = []

    def wake_after_the_look(ids: Sequence[ObjectId]) -> set[ObjectId]:
        found: set[ObjectId] = look(ids)
        commitment.persist(transactions)
        committed.extend(commitment.commit(transactions))
        return found

    lab.pass_time()
    monkeypatch.setattr(ChainTransaction, "existing_ids", wake_after_the_look)
    sweeper.sweep()
    monkeypatch.undo()
    delivery.deliver(committed)
    lab.sweep_until_quiet()

    assert len(anchors_of(lab, record.uid_tag_id)) == 1
    check_confirmed_once(lab, [record])


def test_a_sleeper_and_the_sweeper_commit_the_same_transaction_without_harm(lab: Lab) -> None:
    lab.fill_pool(2)
    records = lab.register_many(2)
    transactions = _persisted(records)
    lab.pass_time()
    sweeper.sweep()

    assert commitment.commit(transactions) == []

    check_confirmed_once(lab, records)


def _as_dict(result: Any) -> dict[ObjectId, list[Utxo]]:
    assert isinstance(result, dict), result
    return result


def _signed(records: Sequence[AuthenticationRecord]) -> list[ChainTransaction]:
    """Claims, locks and signs, as a worker does that then falls asleep."""
    kept: list[ChainTransaction] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commitment, "persist", kept.extend)
        patch.setattr(commitment, "commit", lambda _: [])
        anchoring.anchor(records)
    assert len(kept) == len(records)
    return kept


def _persisted(records: Sequence[AuthenticationRecord]) -> list[ChainTransaction]:
    """The same, and stores the transactions before it falls asleep."""
    transactions = _signed(records)
    commitment.persist(transactions)
    return transactions
