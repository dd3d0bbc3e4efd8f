"""Each alert fires where its condition is caused on the running system, and not before."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from tests.e2e.system import System, at_once
from tests.e2e.watching import Watch, check_up, frozen, load_rules, rows, wait_until

# The system takes its time to start on a busy machine.
pytestmark = pytest.mark.timeout(300)
OUTAGE = {"faults": [{"kind": "status", "status": 503}]}
HOUR_SECONDS = 3600.0
SWEPT_AT = 'max(patchproof_task_last_done_timestamp_seconds{task="sweep-unfinished"})'


@dataclass(frozen=True)
class Cause:
    """What is done to the system, and the alerts that have to fire of it."""

    bring_about: Callable[[System, Watch], AbstractContextManager[None]]
    alerts: tuple[str, ...]


@contextmanager
def chain_is_away(system: System, watch: Watch) -> Iterator[None]:
    """The chain service answers 503; records wait, and so does who asks for a sync."""
    owner = system.make_owner()
    system.control("POST", "faults", OUTAGE)
    submitted = []
    for product in system.make_products(8):
        submitted.append(system.register(product, owner))
        asked = system.send(
            "POST", "/v1/admin/utxo-maintain", json={"action": "sync"}, headers=system.api_key
        )
        assert asked.status_code == 503
        watch.look()
    ids = [ObjectId(each.pending_id) for each in submitted]
    # They were accepted eleven minutes ago.
    created_at = datetime.now(UTC) - timedelta(minutes=11)
    rows(system, "authentication_records").update_many(
        {"_id": {"$in": ids}}, {"$set": {"created_at": created_at}}
    )
    try:
        yield
    finally:
        system.control("DELETE", "faults")
    for each in submitted:
        system.confirm(each)


@contextmanager
def signer_hangs(system: System, watch: Watch) -> Iterator[None]:
    with frozen(system, "signer"):
        yield


@contextmanager
def workers_and_beat_hang(system: System, watch: Watch) -> Iterator[None]:
    """Nobody works: what a crash has left stays, messages pile up, time goes by."""
    now = datetime.now(UTC)
    dead = ObjectId()
    utxos, records = rows(system, "utxos"), rows(system, "authentication_records")
    transactions = rows(system, "transactions")
    available = [row["_id"] for row in utxos.find({"status": "available"}).sort("satoshis")]
    with frozen(system, "worker", "beat"):
        # A process died with all outputs but the smallest, forty minutes ago.
        locked = {"status": "locked", "lock_id": dead, "held": False}
        locked |= {"locked_at": now - timedelta(minutes=40)}
        utxos.update_many({"_id": {"$in": available[1:]}}, {"$set": locked})
        # What was left pays for an hour.
        left = utxos.find_one({"_id": available[0]})
        utxos.update_one({"_id": available[0]}, {"$set": {"satoshis": 100}})
        waiting = system.register(system.make_products(1)[0], system.make_owner())
        late = {"$set": {"next_attempt_at": now - timedelta(minutes=6)}}
        records.update_one({"_id": ObjectId(waiting.pending_id)}, late)
        lost = transactions.find_one({"next_attempt_at": {"$ne": None}})
        transactions.update_one({"_id": lost["_id"]}, {"$set": {"needs_operator": True}})
        for _ in range(101):
            system.celery.send_task("track-transactions", queue="maintenance", expires=1.0)
        watch.put_forward(400.0)
        try:
            yield
        finally:
            transactions.update_one({"_id": lost["_id"]}, {"$set": {"needs_operator": False}})
            utxos.update_one({"_id": available[0]}, {"$set": {"satoshis": left["satoshis"]}})
            free = {"$set": {"status": "available", "held": False}}
            free |= {"$unset": {"lock_id": 1, "locked_at": 1}}
            utxos.update_many({"lock_id": dead}, free)
    system.confirm(waiting)


@contextmanager
def hours_go_by(system: System, watch: Watch) -> Iterator[None]:
    """Nobody syncs and nobody checks for three hours."""
    watch.put_forward(3 * HOUR_SECONDS)
    yield


@contextmanager
def invariant_is_broken(system: System, watch: Watch) -> Iterator[None]:
    """An output is held for a transaction that does not exist."""
    utxos = rows(system, "utxos")
    found = utxos.find_one({"status": "available"})
    held = {"status": "locked", "held": True, "lock_id": ObjectId()}
    utxos.update_one({"_id": found["_id"]}, {"$set": held})
    check_up(system)
    try:
        yield
    finally:
        utxos.replace_one({"_id": found["_id"]}, found)
        check_up(system)


@contextmanager
def somebody_guesses(system: System, watch: Watch) -> Iterator[None]:
    """Hundreds of answers to challenges that nobody was given."""

    def guess() -> None:
        body = {
            "userId": secrets.token_hex(12),
            "M": secrets.token_hex(24),
            "signatureHex": "30" * 35,
        }
        answer = system.send("POST", "/api/svd/complete", json=body)
        assert answer.status_code == 400, answer.text

    # Series are there before they grow: each web process may name another key of the signer.
    at_once([guess] * 20, threads=8)
    watch.look()
    at_once([guess] * 250, threads=8)
    yield


@contextmanager
def a_task_fails(system: System, watch: Watch) -> Iterator[None]:
    """Messages that no task can make sense of."""
    for _ in range(4):
        system.celery.send_task("send-code", kwargs={"code_id": "nonsense"}, queue="mail")
    yield


@contextmanager
def web_hangs(system: System, watch: Watch) -> Iterator[None]:
    watch.is_web_frozen = True
    with frozen(system, "web"):
        yield


@contextmanager
def redis_dies(system: System, watch: Watch) -> Iterator[None]:
    """It is killed, and comes back with what it had written down; the others find it again."""
    system.net.kill("redis")
    try:
        yield
    finally:
        system.net.start("redis")
    back_at = time.time()
    wait_until(lambda: (watch.value(SWEPT_AT) or 0) > back_at, "a sweep")


CAUSES = (
    Cause(
        chain_is_away,
        ("ChainAway", "CircuitOpen", "BroadcastsFail", "ErrorRateHigh", "RecordWaits"),
    ),
    Cause(signer_hangs, ("SignerAway", "SignerSlow")),
    Cause(
        workers_and_beat_hang,
        (
            "WorkersSilent",
            "BeatSilent",
            "QueueGrowing",
            "SweeperLate",
            "LocksStuck",
            "PoolLow",
            "RunwayShort",
            "OperatorNeeded",
        ),
    ),
    Cause(hours_go_by, ("SyncStale", "InvariantsUnchecked")),
    Cause(invariant_is_broken, ("InvariantBroken",)),
    Cause(somebody_guesses, ("LoginsRefused",)),
    Cause(a_task_fails, ("TasksFail",)),
    Cause(web_hangs, ("ScrapeMissing",)),
    Cause(redis_dies, ("StorageAway",)),
)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.bring_about.__name__)
def test_done_4_alerts_fire_of_their_cause(calm: System, cause: Cause) -> None:
    watch = Watch(calm, cause.alerts)
    watch.wait_until_calm()
    with ExitStack() as stack:
        stack.enter_context(cause.bring_about(calm, watch))
        watch.wait_until_held()
        fired = watch.fire()
    assert set(fired) == set(cause.alerts)


def test_done_4_nothing_fires_while_all_is_well(calm: System) -> None:
    Watch(calm, load_rules()).wait_until_calm()


def test_done_4_every_alert_has_a_cause() -> None:
    caused = [name for cause in CAUSES for name in cause.alerts]
    assert sorted(caused) == sorted(load_rules())
