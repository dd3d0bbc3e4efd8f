"""The pool is filled up between its marks, in as many rounds as it takes, and only once."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

import pytest

from app import extensions, queue
from app.domain.clock import utc_now
from app.errors import InvalidInputError, LockLostError, SignerUnavailableError
from app.models.setting import SPLIT_LEASE, Setting
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, commitment, knobs, pool_split, reaper, sweeper
from app.services.pool_split import SplitOutcome
from tests.integration.pool.world import World
from tests.integration.services.invariants import check_money


def test_below_the_low_mark_the_pool_is_filled_to_the_high_mark(world: World) -> None:
    world.configure(UTXO_MIN_POOL="5", UTXO_MAX_POOL="12")
    world.fill(1, 200_000)

    done = pool_split.split()

    assert (done.outcome, done.available, done.target) == (SplitOutcome.DONE, 1, 12)
    assert done.is_accepted
    amounts = world.amounts()
    assert amounts[:-1] == [5000] * 11
    [sent] = ChainTransaction.objects
    assert amounts[-1] == 200_000 - 11 * 5000 - sent.fee_satoshis
    assert (sent.kind, sent.status) == ("split", "accepted")
    check_money(world)


def test_at_the_low_mark_nothing_is_done(world: World) -> None:
    world.configure(UTXO_MIN_POOL="5", UTXO_MAX_POOL="12")
    world.fill(5, 5000)
    before = world.snapshot()
    assert pool_split.split().outcome == SplitOutcome.HEALTHY
    assert world.snapshot() == before


def test_f31_marks_and_sizes_change_without_a_restart(world: World) -> None:
    world.fill(1, 100_000)
    world.put(MIN_UTXO_COUNT=3, UTXO_MAX_POOL=4, UTXO_SPLIT_SIZE_SATS="3000", FEE_PER_KB=200)
    done = pool_split.split()
    assert world.amounts()[:-1] == [3000] * 3
    [sent] = done.transactions
    assert sent.fee_satoshis == 59  # 294 bytes at 200 satoshis a kilobyte, rounded up
    Setting.objects.delete()
    assert knobs.load().split_size == 5000


def test_dust_does_not_count_as_useful(world: World) -> None:
    world.configure(UTXO_MIN_POOL="5", UTXO_MAX_POOL="8")
    world.fund(20, 999)
    world.fill(1, 100_000)
    assert pool_split.split().outcome == SplitOutcome.DONE
    assert sum(satoshis >= 1000 for satoshis in world.amounts()) == 8


def test_one_output_that_can_not_pay_for_all_is_followed_by_others(world: World) -> None:
    world.fund(1, 40_000)
    world.fill(2, 30_000)

    done = pool_split.split(target=18)

    assert done.outcome == SplitOutcome.DONE
    assert len(done.transactions) == 3
    assert len(world.amounts()) == 18
    check_money(world)


def test_a_round_is_bounded_and_its_change_is_split_on(world: World) -> None:
    world.configure(MAX_SPLIT_OUTPUTS="4")
    world.fill(1, 100_000)

    done = pool_split.split(target=11)

    assert [each.outputs for each in done.transactions] == [5, 5, 3]
    assert len(world.amounts()) == 11
    check_money(world)


def test_a_size_of_dust_is_refused(world: World) -> None:
    world.fill(1, 100_000)
    before = world.snapshot()
    with pytest.raises(InvalidInputError, match="1999 satoshis are dust"):
        pool_split.split(target=5, size=1999)
    assert world.snapshot() == before
    assert pool_split.split(target=5, size=2000).is_accepted


def test_a_size_that_does_not_pay_for_its_own_spending_is_refused(world: World) -> None:
    world.configure(DUST_THRESHOLD_SATS="1")
    world.fill(1, 100_000)
    with pytest.raises(InvalidInputError, match="don't pay for their own spending"):
        pool_split.split(target=5, size=15)


def test_a_target_above_what_the_funds_allow_is_refused(world: World) -> None:
    world.fill(1, 50_000)
    before = world.snapshot()
    with pytest.raises(InvalidInputError, match="hold 50000 satoshis, enough for 10"):
        pool_split.split(target=11)
    assert world.snapshot() == before
    assert pool_split.split(target=10).is_accepted


def test_a_target_that_takes_too_many_transactions_is_refused(world: World) -> None:
    world.configure(MAX_SPLIT_OUTPUTS="2")
    world.fill(1, 10_000_000)
    with pytest.raises(InvalidInputError, match="more than 50 transactions of MAX_SPLIT_OUTPUTS=2"):
        pool_split.split(target=200)


def test_without_a_target_as_much_is_done_as_the_funds_allow(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.fill(1, 30_000)
    assert pool_split.split().outcome == SplitOutcome.DONE
    assert len(world.amounts()) == 6
    assert pool_split.split().outcome == SplitOutcome.NO_FUNDS
    assert "no output is large enough" in caplog.text


def test_m14_a_plan_writes_and_signs_nothing(world: World) -> None:
    world.fill(1, 100_000)
    world.configure(KMS_SIGN_URL="http://127.0.0.1:1")
    before = world.snapshot()
    planned = pool_split.plan(target=30, size=3000)
    assert planned.outputs == 29
    assert world.snapshot() == before


def test_what_is_planned_is_what_is_sent(world: World) -> None:
    world.configure(MAX_SPLIT_OUTPUTS="5")
    world.fill(1, 100_000)
    planned = pool_split.plan(target=13)
    done = pool_split.split(target=13)
    assert [each.fee_satoshis for each in done.transactions] == [
        each.fee_satoshis for each in planned.rounds
    ]
    assert sum(each.outputs for each in done.transactions) == planned.outputs + len(planned.rounds)


def test_a_second_split_waits_for_the_cooldown(world: World) -> None:
    world.configure(SPLIT_COOLDOWN_MS="60000")
    world.fill(1, 100_000)
    assert pool_split.split(target=3).outcome == SplitOutcome.DONE
    assert pool_split.split(target=6).outcome == SplitOutcome.COOLING_DOWN
    assert len(world.amounts()) == 3
    # Live: the setting counts at once.
    world.put(SPLIT_COOLDOWN_MS=0)
    assert pool_split.split(target=6).outcome == SplitOutcome.DONE
    world.put(SPLIT_COOLDOWN_MS=60_000)
    assert pool_split.split(target=8, ignore_cooldown=True).outcome == SplitOutcome.DONE


def test_a_lease_in_the_database_keeps_others_out_when_redis_has_forgotten(world: World) -> None:
    world.fill(1, 100_000)
    until = utc_now() + timedelta(seconds=60)
    assert Setting.take_lease(SPLIT_LEASE, "another host", utc_now(), until)
    assert pool_split.split(target=3).outcome == SplitOutcome.LEASE_HELD
    Setting.take_lease(SPLIT_LEASE, "another host", utc_now(), utc_now() - timedelta(seconds=1))
    assert pool_split.split(target=3).outcome == SplitOutcome.DONE


def test_m5_an_unknown_outcome_is_not_failed(world: World) -> None:
    [source] = world.fill(1, 100_000)
    # The answer is lost, and whether it arrived can't be asked either.
    world.set_faults(
        {"kind": "cut_after", "path": "/tx/raw"},
        {"kind": "status", "status": 503, "path": "/txs/status"},
    )

    done = pool_split.split(target=10)

    assert done.outcome == SplitOutcome.NOT_ACCEPTED
    assert world.status(source) == "locked"
    assert Utxo.objects(outpoint=source).get().held
    assert reaper.reap() == 0

    world.clear_faults()
    ChainTransaction.objects.update(set__next_attempt_at=utc_now())
    sweeper.sweep()
    assert world.status(source) == "spent"
    assert len(world.amounts()) == 10
    check_money(world)


def test_without_a_signer_everything_is_free_again(world: World) -> None:
    world.fill(1, 100_000)
    world.configure(KMS_SIGN_URL="http://127.0.0.1:1")
    with pytest.raises(SignerUnavailableError):
        pool_split.split(target=10)
    assert world.statuses() == {"available": 1}
    assert ChainTransaction.objects.count() == 0
    # Nothing was sent, so nothing has to cool down.
    world.configure(SPLIT_COOLDOWN_MS="60000")
    assert pool_split.split(target=10).is_accepted


def test_m12_a_lost_lock_stops_before_anything_is_stored(world: World) -> None:
    world.fill(1, 100_000)
    original = pool_split.reshaping.sign_all

    def sign_while_the_lock_is_lost(*args: object, **kwargs: object) -> object:
        signed = original(*args, **kwargs)
        extensions.get().redis.delete("lock:pool")
        return signed

    with (
        patch.object(pool_split.reshaping, "sign_all", sign_while_the_lock_is_lost),
        pytest.raises(LockLostError),
    ):
        pool_split.split(target=10)

    assert ChainTransaction.objects.count() == 0
    assert world.statuses() == {"available": 1}


def test_m12_a_lock_lost_after_it_was_stored_leaves_the_rest_to_the_sweeper(world: World) -> None:
    world.fill(1, 100_000)
    original = commitment.persist

    def persist_while_the_lock_is_lost(*args: object) -> None:
        original(*args)
        extensions.get().redis.set("lock:pool", "somebody else")

    with (
        patch.object(commitment, "persist", persist_while_the_lock_is_lost),
        pytest.raises(LockLostError),
    ):
        pool_split.split(target=10)

    [stored] = ChainTransaction.objects
    assert stored.status == "signed"
    assert world.chain_transactions().keys().isdisjoint({stored.txid})
    ChainTransaction.objects.update(set__next_attempt_at=utc_now())
    sweeper.sweep()
    assert len(world.amounts()) == 10
    check_money(world)


def test_an_output_that_somebody_locks_meanwhile_is_not_split(world: World) -> None:
    world.fill(2, 60_000)
    original = Utxo.lock_each
    stolen: list[str] = []

    def steal_first(wanted: dict[str, object], now: object) -> object:
        if not stolen:
            stolen.extend(wanted)
            Utxo.objects(outpoint__in=stolen).update(set__status="spent", set__spent_txid="ab" * 32)
        return original(wanted, now)

    with patch.object(Utxo, "lock_each", steal_first):
        done = pool_split.split()

    assert done.outcome == SplitOutcome.DONE
    assert len(stolen) == 1
    [sent] = ChainTransaction.objects
    assert sent.inputs[0].outpoint not in stolen


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that are asked for."""
    tasks: list[str] = []
    monkeypatch.setattr(queue, "enqueue", lambda task, **_: tasks.append(task.value))
    monkeypatch.setattr(pool_split, "_look_again_at", {})
    return tasks


def test_a_pass_that_finds_the_pool_low_has_it_filled_at_once(
    world: World, enqueued: list[str]
) -> None:
    world.configure(UTXO_MIN_POOL="3")
    world.fill(3, 5000)
    pool_split.ask_if_low(knobs.load())
    assert enqueued == []

    pool_split._look_again_at.clear()
    Utxo.objects.limit(1).update_one(set__status="spent", set__spent_txid="ab" * 32)
    pool_split.ask_if_low(knobs.load())
    pool_split.ask_if_low(knobs.load())
    # Many passes of one process ask once.
    assert enqueued == ["split-pool"]


def test_without_workers_nobody_is_asked(world: World, enqueued: list[str]) -> None:
    world.configure(JOBS_ASYNC="0")
    pool_split.ask_if_low(knobs.load())
    assert enqueued == []


def test_anchoring_asks_for_a_split_when_it_leaves_the_pool_low(
    world: World, enqueued: list[str]
) -> None:
    world.fill(1, 5000)
    world.register()
    enqueued.clear()
    anchoring.anchor_due(10)
    assert enqueued == ["split-pool"]
