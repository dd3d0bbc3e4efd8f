"""What beat starts for the pool: it does its work, or says why not and leaves it to the next."""

from __future__ import annotations

import inspect

import pytest
from celery.schedules import crontab

from app.models.setting import FEE_POLICY, Setting
from app.models.transaction import ChainTransaction
from app.queue import QUEUE_OF_TASK, Task
from app.services.maintenance import exclusive
from tasks import pool as pool_tasks
from tasks.schedule import beat_schedule
from tests.integration.pool.world import World
from tests.integration.services.invariants import check_money

UPKEEP = (pool_tasks.sync_pool, pool_tasks.split_pool, pool_tasks.sweep_dust)


def test_the_tasks_do_their_work(world: World) -> None:
    world.fund(20, 900)
    world.fund(1, 200_000)
    world.mine()
    pool_tasks.sync_pool()
    assert world.statuses() == {"available": 21}
    pool_tasks.split_pool()
    assert len([each for each in world.amounts() if each >= 1000]) == 20
    pool_tasks.sweep_dust()
    assert min(world.amounts()) >= 5000
    pool_tasks.refresh_fee()
    assert Setting.find_value(FEE_POLICY) == 50
    check_money(world)


@pytest.mark.parametrize("task", UPKEEP, ids=lambda task: task.name)
def test_m13_a_held_lock_is_left_alone(
    world: World, caplog: pytest.LogCaptureFixture, task: object
) -> None:
    world.fill(1, 200_000)
    before = world.snapshot()
    caplog.set_level("INFO")
    with exclusive():
        task()  # type: ignore[operator]
    assert world.snapshot() == before
    assert "another process holds the lock" in caplog.text


@pytest.mark.parametrize("task", UPKEEP, ids=lambda task: task.name)
def test_outages_are_said_and_the_next_round_makes_up_for_them(
    world: World, caplog: pytest.LogCaptureFixture, task: object
) -> None:
    world.fund(20, 900)
    world.fill(1, 200_000)
    world.configure(KMS_SIGN_URL="http://127.0.0.1:1")
    world.set_faults({"kind": "status", "status": 503})
    task()  # type: ignore[operator]
    assert world.statuses() == {"available": 21}
    assert ChainTransaction.objects.count() == 0
    assert "waits: " in caplog.text


def test_a_dry_pool_is_warned_of_at_every_sync(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    pool_tasks.sync_pool()
    assert "the pool has 0 useful outputs, fewer than 10" in caplog.text


def test_beat_starts_all_upkeep(world: World) -> None:
    schedule = beat_schedule(world.settings)
    periods = {
        Task.SYNC_POOL: 900,
        Task.SPLIT_POOL: 900,
        Task.REAP_LOCKS: 60,
        Task.SWEEP: 10,
    }
    for task, seconds in periods.items():
        assert schedule[task.value]["schedule"] == seconds
    assert schedule[Task.SWEEP_DUST.value]["schedule"] == crontab(hour="2", minute="0")
    for name, entry in schedule.items():
        assert entry["options"]["queue"] == QUEUE_OF_TASK[Task(name)].value


def test_the_fee_is_asked_for_before_the_last_answer_is_too_old(world: World) -> None:
    period = beat_schedule(world.settings)[Task.REFRESH_FEE.value]["schedule"]
    assert 2 * period < world.settings.fee_policy_max_age_seconds


def test_tasks_stay_thin() -> None:
    for task in (*UPKEEP, pool_tasks.refresh_fee):
        assert len(inspect.getsource(task.run).splitlines()) <= 25
