"""Processes that want the same thing at the same moment."""

from __future__ import annotations

import os
import signal
import time

import pytest

from app.domain.states import RecordStatus, TransactionStatus, UtxoStatus
from app.models.record import AuthenticationRecord
from app.models.setting import Setting
from app.models.transaction import ChainTransaction, TransactionKind
from app.models.utxo import Utxo
from app.queue import Task
from app.services import reaper
from tests.chaos.processes import (
    ACCEPT,
    KILLED,
    REFUSED,
    Job,
    Zygote,
    is_asleep_or_over,
    wait_until,
)
from tests.chaos.stages import KEY, STAGES, USEFUL_SATOSHIS, new_uid
from tests.chaos.steps import Theatre, judge, let_maintenance_run_out, sweep_until_quiet
from tests.integration.services.invariants import check_at_rest, check_confirmed_once
from tests.integration.services.lab import Lab, Owner

PROCESSES = 8
START_SECONDS = 1.5
# Pays for one registration and leaves no change that could pay for another.
FOR_ONE = 60
# Two of them pay for one registration, one does not.
FOR_A_HALF = 40
INSERT = "StatefulDocument.insert_all #1"
AFTER_LOCK = "after pool.try_lock utxos.update by Utxo.lock_each #1"


def run_at_once(zygote: Zygote, jobs: list[Job]) -> list[int]:
    """Runs the jobs in processes that begin at one moment; answers how each ended."""
    begin = time.time() + START_SECONDS
    pids = [zygote.start(Job(**{**vars(job), "not_before": begin})) for job in jobs]
    return [zygote.wait(pid) for pid in pids]


def synchronous_registrations() -> list[Job]:
    return [
        Job(
            ACCEPT,
            {"uid": new_uid(), "owner": Owner().address},
            environment={"JOBS_ASYNC": "0", "CLAIM_LEASE_SECONDS": "120"},
        )
        for _ in range(PROCESSES)
    ]


def test_p3_of_eight_processes_four_win_four_coins(lab: Lab, zygote: Zygote) -> None:
    lab.fill_pool(4, FOR_ONE)

    codes = run_at_once(zygote, synchronous_registrations())

    assert sorted(codes) == [0] * 4 + [REFUSED] * 4
    failed = AuthenticationRecord.objects(status=RecordStatus.FAILED.value)
    assert set(failed.scalar("reason")) == {"the pool has no output left that pays for it"}
    assert ChainTransaction.objects(status=TransactionStatus.ACCEPTED.value).count() == 4
    check_at_rest(lab)


def test_m9_eight_processes_that_gather_coins_find_all_there_are(lab: Lab, zygote: Zygote) -> None:
    lab.fill_pool(2 * PROCESSES, FOR_A_HALF)

    codes = run_at_once(zygote, synchronous_registrations())

    assert codes == [0] * PROCESSES
    check_at_rest(lab)


def test_m9_those_without_a_coin_get_one_when_change_returns(lab: Lab, zygote: Zygote) -> None:
    lab.fill_pool(4)
    records = lab.register_many(PROCESSES)
    job = Job(Task.ANCHOR_RECORDS.value, environment={"ANCHOR_BATCH_SIZE": "2"})

    codes = run_at_once(zygote, [job] * PROCESSES)
    sweep_until_quiet(lab)

    assert codes == [0] * PROCESSES
    check_confirmed_once(lab, records)


@pytest.mark.parametrize("task", [Task.SPLIT_POOL, Task.SWEEP_DUST])
def test_of_two_hosts_at_upkeep_one_does_it(lab: Lab, zygote: Zygote, task: Task) -> None:
    lab.fill_pool(1, 100_000)
    Setting.put("MIN_UTXO_COUNT", 4)
    Setting.put("DUST_SWEEP_LIMIT", 2)
    if task is Task.SWEEP_DUST:
        lab.fill_pool(3, 700)

    codes = run_at_once(zygote, [Job(task.value)] * 4)

    assert codes == [0] * 4
    assert ChainTransaction.objects(kind=TransactionKind.SPLIT.value).count() == 1
    sweeps = ChainTransaction.objects(kind=TransactionKind.SWEEP.value).count()
    assert sweeps == (1 if task is Task.SWEEP_DUST else 0)
    assert Utxo.count_available(KEY, at_least=USEFUL_SATOSHIS) >= 4
    check_at_rest(lab)


def test_p3_a_sleeper_whose_coin_was_reaped_and_spent_sends_nothing(
    lab: Lab, zygote: Zygote
) -> None:
    lab.fill_pool(1, FOR_ONE)
    [slow] = lab.register_many(1)
    pid = zygote.start(Job(Task.ANCHOR_RECORDS.value, point=AFTER_LOCK, end="stop"))
    wait_until(lambda: is_asleep_or_over(pid))
    [coin] = Utxo.objects(status=UtxoStatus.LOCKED.value)
    lab.pass_time()
    assert reaper.reap() == 1
    # Another record takes it, since the sleeper's own is still claimed.
    fast = lab.registered("NFC-fast", Owner())
    coin.reload()
    assert coin.spent_txid == fast.txid
    before = lab.accepted_count()

    os.kill(pid, signal.SIGCONT)
    assert zygote.wait(pid) == 0

    assert lab.accepted_count() == before
    lab.fill_pool(1, FOR_ONE)
    sweep_until_quiet(lab)
    check_confirmed_once(lab, [slow, fast])


def test_a_split_that_died_stored_is_not_made_a_second_time(theatre: Theatre) -> None:
    lab = theatre.lab
    lab.fill_pool(1, 100_000)
    Setting.put("MIN_UTXO_COUNT", 4)
    job = Job(Task.SPLIT_POOL.value)
    dying = Job(job.task, point="after commitment.persist transactions.insert by " + INSERT)
    assert theatre.zygote.run(dying) == KILLED
    let_maintenance_run_out(lab)
    lab.pass_time()

    # The reaper comes before the sweeper, and another split at once.
    assert reaper.reap() == 0
    assert theatre.zygote.run(job) == 0
    sweep_until_quiet(lab)

    assert ChainTransaction.objects.count() == 1
    assert Utxo.count_available(KEY, at_least=USEFUL_SATOSHIS) >= 4
    check_at_rest(lab)


def test_a_split_that_slept_through_its_lock_ends_before_its_next_write(theatre: Theatre) -> None:
    stage = STAGES["splitting"]
    play = stage.prepare(theatre.lab)
    point = "after reshaping.lock utxos.update by Utxo.lock_each #1"
    pid = theatre.zygote.start(Job(play.job.task, point=point, end="stop"))
    wait_until(lambda: is_asleep_or_over(pid))
    let_maintenance_run_out(theatre.lab)
    theatre.lab.fill_pool(1, 100_000)
    before = theatre.lab.accepted_count()

    assert theatre.zygote.run(play.job) == 0
    done = theatre.lab.accepted_count()
    assert theatre.wake(pid) == 0

    assert done > before
    assert theatre.lab.accepted_count() == done
    sweep_until_quiet(theatre.lab)
    judge(theatre.lab, [play])
