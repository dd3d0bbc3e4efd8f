"""What waits is seen, and moved on without ever being built twice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bson import ObjectId

from app.domain.clock import utc_now
from app.domain.states import RecordStatus, TransactionStatus
from app.errors import ConflictError, NotFoundError
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, invariants, jobs, sweeper
from tests.integration.commands.conftest import Manage
from tests.integration.pool.world import World
from tests.integration.services.crashes import POINTS, crashing

OLD_SCRIPTS = ("jobs:check-failed", "jobs:report-failed", "jobs:recover-orphaned")
OLD_FLAGS = ("--states", "--stuck-mins", "--limit", "--dry-run", "--requeue", "--retry")


def waiting_record(world: World, uid: str = "NFC-1") -> AuthenticationRecord:
    """A record that found no output to pay for it and waits for its next attempt."""
    record = world.register(uid)
    anchoring.anchor([record])
    record.reload()
    assert record.status == RecordStatus.PENDING
    return record


def left_behind(world: World, point: str, uid: str = "NFC-1") -> AuthenticationRecord:
    """A record whose worker has died at this point."""
    record = world.register(uid)
    with crashing(POINTS[point]):
        anchoring.anchor([record])
    record.reload()
    return record


def carriers_of(record: AuthenticationRecord) -> list[ChainTransaction]:
    return list(ChainTransaction.objects(records__record_id=record.id))


# list-stuck


def test_nothing_is_stuck(manage: Manage) -> None:
    shown = manage("jobs", "list-stuck", "--older-than-mins", "0")

    assert (shown.code, shown.stdout.strip()) == (2, "nothing is stuck")


def test_what_waits_is_listed_with_its_reason(manage: Manage, world: World) -> None:
    record = waiting_record(world)

    shown = manage("jobs", "list-stuck", "-m", "0", "--json")

    assert shown.code == 0
    [stuck] = shown.json["stuck"]
    assert stuck["id"] == str(record.id)
    assert (stuck["kind"], stuck["status"], stuck["subject"]) == ("record", "pending", "NFC-1")
    assert stuck["reason"] == "the pool has no output left that pays for it"
    assert stuck["age_seconds"] >= 0
    assert stuck["tries"] == 0
    assert stuck["next_attempt_at"]


def test_a_record_and_the_transaction_that_carries_it_say_the_same(world: World) -> None:
    world.fill(1, 5000)
    world.set_faults({"kind": "cut_before", "path": "/tx/raw"})
    record = world.register()
    anchoring.anchor([record])

    mine, its = jobs.list_stuck(limit=10)

    assert (mine.kind, mine.status) == ("record", "anchoring")
    assert (its.kind, its.status, its.subject) == ("transaction", "committed", "registration")
    assert mine.txid == its.txid
    assert mine.reason == its.reason
    assert its.tries == 1


def test_what_is_young_or_in_another_state_is_left_out(manage: Manage, world: World) -> None:
    waiting_record(world)

    assert manage("jobs", "list-stuck").code == 2
    assert manage("jobs", "list-stuck", "-m", "0", "--states", "anchoring,failed").code == 2
    assert manage("jobs", "list-stuck", "-m", "0", "--states", "pending").code == 0


def test_failed_records_are_listed_when_asked_for(manage: Manage, world: World) -> None:
    record = waiting_record(world)
    jobs.fail(str(record.id), "wrong tag")

    shown = manage("jobs", "list-stuck", "--stuck-mins", "0", "--states", "failed", "--json")

    assert [each["reason"] for each in shown.json["stuck"]] == [
        "given up by the operator: wrong tag"
    ]


def test_a_state_that_does_not_exist_is_wrong_usage(manage: Manage) -> None:
    shown = manage("jobs", "list-stuck", "--states", "queued")

    assert shown.code == 2
    assert "'queued' is none of" in shown.stderr


def test_settled_transactions_are_not_stuck(world: World) -> None:
    world.fill(1, 5000)
    anchoring.anchor([world.register()])

    assert jobs.list_stuck(limit=10) == []


# replay


@pytest.mark.parametrize("point", ["persist", "hold", "committed", "first broadcast", "accepted"])
def test_m9_a_replay_never_builds_a_second_transaction(world: World, point: str) -> None:
    world.fill(3, 5000)
    record = left_behind(world, point)
    [before] = carriers_of(record)

    [replayed] = jobs.replay([str(record.id)])
    sweeper.sweep()

    assert replayed.is_due
    record.reload()
    assert record.status == RecordStatus.CONFIRMED
    [after] = carriers_of(record)
    assert (after.id, bytes(after.raw_tx)) == (before.id, bytes(before.raw_tx))
    assert invariants.check(pause_seconds=0).is_clean


def test_m9_replaying_what_the_network_has_sends_it_no_second_one(
    manage: Manage, world: World
) -> None:
    world.fill(3, 5000)
    record = left_behind(world, "first broadcast")
    accepted = len(world.chain_transactions())

    done = manage("jobs", "replay", str(record.id), "--sweep", "--json")

    assert done.code == 0, done.stderr
    assert done.json["still_waiting"] == 0
    assert len(world.chain_transactions()) == accepted
    record.reload()
    assert record.status == RecordStatus.CONFIRMED
    assert len(carriers_of(record)) == 1


def test_m9_a_rejected_transaction_is_undone_and_not_sent_again(world: World) -> None:
    coins = world.fill(1, 5000)
    world.spend_outside(coins)
    world.mine()
    record = world.register()
    anchoring.anchor([record])
    [dead] = carriers_of(record)
    assert dead.status == TransactionStatus.REJECTED

    [replayed] = jobs.replay([str(dead.id)])

    assert (replayed.is_due, replayed.outcome) == (False, "has ended: rejected")


def test_all_that_waits_is_replayed(manage: Manage, world: World) -> None:
    records = [waiting_record(world, f"NFC-{n}") for n in range(3)]
    world.fill(3, 5000)

    planned = manage("jobs", "replay", "--all", "--dry-run", "--json")
    assert [each["is_due"] for each in planned.json["replays"]] == [True] * 3
    assert ChainTransaction.objects.count() == 0

    done = manage("jobs", "replay", "--all", "--limit", "2", "--sweep")
    assert done.code == 0, done.stderr
    assert "all of them have ended" in done.stdout
    for record in records:
        record.reload()
    statuses = sorted(record.status for record in records)
    assert statuses.count(RecordStatus.CONFIRMED.value) >= 2
    assert invariants.check(pause_seconds=0).is_clean


def test_a_dry_run_changes_nothing(manage: Manage, world: World) -> None:
    record = waiting_record(world)

    assert manage("jobs", "replay", str(record.id), "--dry-run").code == 0

    after = AuthenticationRecord.objects.get(id=record.id)
    assert after.next_attempt_at == record.next_attempt_at


def test_nothing_to_replay(manage: Manage) -> None:
    assert manage("jobs", "replay", "--all").code == 2


def test_ids_or_all_and_not_both(manage: Manage) -> None:
    assert manage("jobs", "replay").code == 2
    assert manage("jobs", "replay", "--all", str(ObjectId())).code == 2


def test_what_has_ended_is_refused_with_the_reason(manage: Manage, world: World) -> None:
    failed, waiting = waiting_record(world, "NFC-2"), waiting_record(world, "NFC-3")
    jobs.fail(str(failed.id), "wrong tag")
    world.fill(1, 5000)
    confirmed = world.register()
    anchoring.anchor([confirmed])
    later = utc_now() + timedelta(hours=1)
    AuthenticationRecord.objects(id=waiting.id).update_one(set__next_attempt_at=later)
    ids = [str(confirmed.id), str(failed.id), "nonsense", str(waiting.id)]

    done = manage("jobs", "replay", *ids, "--json")

    assert done.code == 5
    assert {each["id"]: each["outcome"] for each in done.json["replays"]} == {
        ids[0]: "has ended: confirmed",
        ids[1]: "has failed and given its uid up: send it anew",
        ids[2]: "no record or transaction has it",
        ids[3]: "anchored next",
    }
    assert AuthenticationRecord.objects.get(id=waiting.id).next_attempt_at <= utc_now()


def test_p1_a_record_that_waits_for_nothing_is_moved_on(world: World) -> None:
    record = waiting_record(world)
    world.fill(1, 5000)
    AuthenticationRecord.objects(id=record.id).update_one(unset__next_attempt_at=True)
    sweeper.sweep()
    record.reload()
    assert record.status == RecordStatus.PENDING

    jobs.replay([str(record.id)])
    sweeper.sweep()

    record.reload()
    assert record.status == RecordStatus.CONFIRMED


def test_a_sweep_by_hand_ends_while_the_chain_is_away(world: World) -> None:
    world.fill(1, 5000)
    record = left_behind(world, "committed")
    world.set_faults({"kind": "status", "status": 503})
    steps: list[tuple[int, int | None]] = []

    jobs.replay([str(record.id)])
    left = jobs.sweep([str(record.id)], lambda _, done, total: steps.append((done, total)))

    assert left == 1
    assert steps[0] == (0, 1)
    assert steps[-1] == (0, 1)


# fail


def test_a_record_that_nothing_carries_is_given_up(manage: Manage, world: World) -> None:
    record = waiting_record(world)

    done = manage("jobs", "fail", str(record.id), "--reason", "wrong tag", "--json")

    assert done.code == 0, done.stderr
    assert done.json["reason"] == "given up by the operator: wrong tag"
    record.reload()
    assert (record.status, record.active_key) == (RecordStatus.FAILED, None)
    world.register("NFC-1")
    assert invariants.check(pause_seconds=0).is_clean


@pytest.mark.parametrize("point", ["claim", "lock", "persist", "committed", "first broadcast"])
def test_m9_a_record_that_something_may_carry_is_not_given_up(world: World, point: str) -> None:
    world.fill(1, 5000)
    record = left_behind(world, point)

    with pytest.raises(ConflictError) as refused:
        jobs.fail(str(record.id), "impatience")

    assert "claimed" in refused.value.message or "carries it" in refused.value.message
    after = AuthenticationRecord.objects.get(id=record.id)
    assert (after.status, after.active_key) == (record.status, record.active_key)


def test_an_ended_record_is_not_given_up(manage: Manage, world: World) -> None:
    world.fill(1, 5000)
    record = world.register()
    anchoring.anchor([record])

    done = manage("jobs", "fail", str(record.id), "--reason", "too late")

    assert done.code == 5
    assert "it has ended already: confirmed" in done.stderr


def test_a_transaction_is_never_given_up(world: World) -> None:
    world.fill(1, 5000)
    [carrier] = carriers_of(left_behind(world, "committed"))

    with pytest.raises(ConflictError, match="the network's verdict only"):
        jobs.fail(str(carrier.id), "impatience")
    assert Utxo.objects(status="locked").count() == 1


@pytest.mark.parametrize("unknown", ["nonsense", "64b0c0ffee00000000000001"])
def test_an_unknown_record_is_not_found(world: World, unknown: str) -> None:
    with pytest.raises(NotFoundError):
        jobs.fail(unknown, "a slip")


def test_a_reason_is_needed(manage: Manage) -> None:
    assert manage("jobs", "fail", str(ObjectId())).code == 2
    assert manage("jobs", "fail", str(ObjectId()), "--reason", "  ").code == 5


# Help


def test_help_names_the_scripts_that_it_replaces(manage: Manage) -> None:
    shown = manage("jobs", "--help")

    assert shown.code == 0
    for name in (*OLD_SCRIPTS, *OLD_FLAGS):
        assert name in shown.stdout
