"""One at a time across hosts, and whoever has lost the lock stops."""

from __future__ import annotations

import threading
import time

import pytest

from app import extensions
from app.errors import ConflictError, LockHeldError, LockLostError, UnavailableError
from app.models.transaction import ChainTransaction
from app.services import maintenance, pool_split, pool_sweep, pool_sync, pool_upkeep
from app.services.maintenance import exclusive
from app.services.pool_split import SplitOutcome
from app.services.pool_sweep import SweepOutcome
from app.services.pool_sync import Watched
from tests.integration.pool.world import World
from tests.integration.services.invariants import check_money


def test_m13_one_lock_for_everything_that_changes_the_pool(world: World) -> None:
    source = Watched(world.address, world.key_identifier)
    stranger = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
    with exclusive():
        for work in (
            pool_sync.sync,
            lambda: pool_split.split(target=3),
            pool_sweep.sweep_dust,
            lambda: pool_sweep.sweep_address(source, stranger),
            pool_upkeep.maintain,
        ):
            with pytest.raises(LockHeldError) as held:
                work()
            assert isinstance(held.value, ConflictError)
    pool_sync.sync()


def test_two_hosts_at_once_split_once(world: World) -> None:
    world.fill(1, 200_000)
    ends: list[object] = []
    start = threading.Barrier(2)

    def host() -> None:
        start.wait()
        try:
            ends.append(pool_split.split(target=10).outcome)
        except LockHeldError as error:
            ends.append(type(error))

    hosts = [threading.Thread(target=host) for _ in range(2)]
    for each in hosts:
        each.start()
    for each in hosts:
        each.join()

    assert ends.count(SplitOutcome.DONE) == 1
    assert set(ends) <= {SplitOutcome.DONE, SplitOutcome.HEALTHY, LockHeldError}
    assert ChainTransaction.objects.count() == 1
    check_money(world)


def test_m12_the_heartbeat_keeps_the_lock_beyond_its_life(world: World) -> None:
    with exclusive("beating", ttl_seconds=0.6) as guard:
        time.sleep(1.5)
        guard.check()
        with pytest.raises(LockHeldError), exclusive("beating"):
            pass
    with exclusive("beating"):
        pass


def test_m12_a_lock_that_went_to_somebody_else_is_noticed_and_not_given_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    client = extensions.get().redis
    with exclusive("taken", ttl_seconds=0.3) as guard:
        client.set("lock:taken", "somebody else")
        time.sleep(0.5)
        with pytest.raises(LockLostError):
            guard.check()
    assert client.get("lock:taken") == "somebody else"
    assert "could not be given back" in caplog.text


def test_m12_a_process_that_slept_through_its_lock_stops(world: World) -> None:
    with exclusive("slept", ttl_seconds=60) as guard:
        extensions.get().redis.delete("lock:slept")
        with pytest.raises(LockLostError):
            guard.check()


def test_m12_without_redis_there_is_no_lock_and_no_work(world: World) -> None:
    world.fill(1, 200_000)
    before = world.snapshot()
    world.configure(REDIS_URL="redis://127.0.0.1:1/0")
    with pytest.raises(UnavailableError) as refused:
        pool_split.split(target=10)
    assert not isinstance(refused.value, LockLostError)
    assert world.snapshot() == before


def test_m12_redis_that_goes_away_meanwhile_stops_the_work(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        with exclusive("gone", ttl_seconds=0.6) as guard:
            world.devnet.kill("redis")
            with pytest.raises(LockLostError):
                guard.check()
    finally:
        world.devnet.start("redis")
    assert "could not be given back" in caplog.text


def test_every_holder_has_a_name_of_its_own(world: World) -> None:
    with exclusive("one") as first, exclusive("two") as second:
        assert first.owner != second.owner


def test_the_heartbeat_ends_with_the_work(world: World) -> None:
    before = threading.active_count()
    with exclusive("threads"):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_the_whole_round_syncs_sweeps_and_splits(world: World) -> None:
    world.fund(20, 900)
    world.fund(1, 200_000)
    world.mine()

    done = pool_upkeep.maintain()

    assert done.sync.added == 21
    assert (done.sweep.outcome, done.split.outcome) == (SweepOutcome.DONE, SplitOutcome.DONE)
    assert len([s for s in world.amounts() if s >= 1000]) == 20
    check_money(world)


def test_the_lock_is_free_after_a_failure(world: World) -> None:
    world.set_faults({"kind": "status", "status": 503})
    with pytest.raises(Exception, match="503"):
        pool_upkeep.maintain()
    assert extensions.get().redis.get(f"lock:{maintenance.POOL}") is None
