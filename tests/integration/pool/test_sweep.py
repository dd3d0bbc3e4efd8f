"""Small outputs are gathered, and nothing is spent that was not locked for it."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from bson import ObjectId

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from app.clients.outcomes import ServiceUnavailableError
from app.domain.clock import utc_now
from app.errors import InvalidInputError
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import pool_sweep, pool_sync, sweeper
from app.services.pool_sweep import SweepOutcome
from app.services.pool_sync import Watched
from tests.integration.pool.world import World
from tests.integration.services.invariants import check_money

STRANGER = PrivateKey.from_hex("33" * 32).public_key.address(Network.REGTEST)


def test_dust_becomes_one_output_once_there_is_enough_of_it(world: World) -> None:
    world.fund(2, 5000)
    world.fill(19, 900)
    before = world.snapshot()
    waits = pool_sweep.sweep_dust()
    assert (waits.outcome, waits.count) == (SweepOutcome.BELOW_LIMIT, 19)
    assert world.snapshot() == before

    world.fill(1, 900)
    done = pool_sweep.sweep_dust()

    assert (done.outcome, done.count, done.inputs) == (SweepOutcome.DONE, 20, 20)
    [sent] = done.transactions
    assert sent.outputs == 1
    assert world.amounts() == sorted([5000, 5000, 20 * 900 - sent.fee_satoshis])
    check_money(world)


def test_f31_threshold_and_limit_change_without_a_restart(world: World) -> None:
    world.fill(3, 2500)
    world.put(DUST_THRESHOLD_SATS=2501, DUST_SWEEP_LIMIT="3")
    assert pool_sweep.sweep_dust().inputs == 3


def test_chunks_are_bounded(world: World) -> None:
    world.configure(SWEEP_MAX_INPUTS="8")
    world.fill(20, 900)
    done = pool_sweep.sweep_dust()
    assert [each.inputs for each in done.transactions] == [8, 8, 4]
    assert len(world.amounts()) == 3
    check_money(world)


def test_m4_a_sweep_spends_what_it_has_locked_and_nothing_else(world: World) -> None:
    dust = world.fill(25, 900)
    good = world.fill(2, 5000)
    [unconfirmed] = world.fund(1, 900)
    pool_sync.sync()
    lock_id = ObjectId()
    Utxo.objects(outpoint=dust[0]).update(
        set__status="locked", set__lock_id=lock_id, set__locked_at=utc_now()
    )

    done = pool_sweep.sweep_dust()

    [sent] = ChainTransaction.objects
    assert {each.outpoint for each in sent.inputs} == set(dust[1:])
    assert done.inputs == 24
    assert world.status(dust[0]) == "locked"
    assert Utxo.objects(outpoint=dust[0]).get().lock_id == lock_id
    assert {world.status(point) for point in good} == {"available"}
    assert world.status(unconfirmed) == "unconfirmed"
    assert {u.spent_txid for u in Utxo.objects(outpoint__in=dust[1:])} == {sent.txid}


def test_m4_what_somebody_locks_meanwhile_is_left_out(world: World) -> None:
    dust = world.fill(20, 900)
    original = Utxo.lock_each

    def steal_some(wanted: dict[str, object], now: object) -> object:
        Utxo.objects(outpoint__in=dust[:5]).update(set__status="spent", set__spent_txid="ab" * 32)
        return original(wanted, now)

    with patch.object(Utxo, "lock_each", steal_some):
        done = pool_sweep.sweep_dust()

    [sent] = done.transactions
    assert (done.outcome, sent.inputs, sent.is_accepted) == (SweepOutcome.DONE, 15, True)
    assert world.amounts() == [15 * 900 - sent.fee_satoshis]


def test_m4_a_sweep_that_loses_all_but_one_gives_it_back(world: World) -> None:
    dust = world.fill(20, 900)
    original = Utxo.lock_each

    def steal_most(wanted: dict[str, object], now: object) -> object:
        Utxo.objects(outpoint__in=dust[1:]).update(set__status="spent", set__spent_txid="ab" * 32)
        return original(wanted, now)

    with patch.object(Utxo, "lock_each", steal_most):
        done = pool_sweep.sweep_dust()

    assert done.outcome == SweepOutcome.NOTHING
    assert world.status(dust[0]) == "available"


def test_a_threshold_above_what_a_split_makes_is_refused(world: World) -> None:
    with pytest.raises(InvalidInputError, match="above UTXO_SPLIT_SIZE_SATS=5000"):
        pool_sweep.plan_dust(threshold=5001)


def test_m5_a_sweep_without_a_verdict_goes_out_again_unchanged(world: World) -> None:
    world.configure(SWEEP_MAX_INPUTS="10")
    world.fill(20, 900)
    world.set_faults({"kind": "status", "status": 502, "path": "/tx/raw"})

    done = pool_sweep.sweep_dust()

    assert done.outcome == SweepOutcome.NOT_ACCEPTED
    # The others are left for another day.
    assert (done.inputs, world.statuses()) == (10, {"locked": 10, "available": 10})
    world.clear_faults()
    ChainTransaction.objects.update(set__next_attempt_at=utc_now())
    sweeper.sweep()
    assert len(world.amounts()) == 11
    check_money(world)


def test_m14_a_plan_writes_and_signs_nothing(world: World) -> None:
    world.fill(20, 900)
    world.configure(KMS_SIGN_URL="http://127.0.0.1:1")
    before = world.snapshot()
    planned = pool_sweep.plan_dust()
    assert [len(each.outpoints) for each in planned.rounds] == [20]
    assert world.snapshot() == before


def other(world: World) -> Watched:
    """An address of ours that is not the funding address."""
    name, key = world.signer.take_key()
    return Watched(key.public_key.address(Network.REGTEST), name)


def test_everything_at_another_address_goes_into_the_pool(world: World) -> None:
    source = other(world)
    world.fund(3, 700, address=source.address)
    world.fund(1, 50_000, address=source.address)
    world.mine()

    done = pool_sweep.sweep_address(source, world.address)

    [sent] = done.transactions
    assert (done.outcome, sent.inputs) == (SweepOutcome.DONE, 4)
    assert world.amounts() == [52_100 - sent.fee_satoshis]
    rows = Utxo.objects(key_identifier=source.key_identifier)
    assert {(row.status, row.spent_txid) for row in rows} == {("spent", sent.txid)}
    assert pool_sweep.sweep_address(source, world.address).outcome == SweepOutcome.NOTHING
    check_money(world)


def test_it_can_go_to_an_address_that_is_not_ours(world: World) -> None:
    world.fill(2, 5000)
    source = Watched(world.address, world.key_identifier)
    done = pool_sweep.sweep_address(source, STRANGER)
    [sent] = done.transactions
    assert (sent.outputs, world.statuses()) == (0, {"spent": 2})
    raw = world.chain_transactions()[sent.txid]["hex"]
    script = PrivateKey.from_hex("33" * 32).public_key.hash160().hex()
    assert script in raw
    assert world.key.public_key.hash160().hex() not in raw


def test_unconfirmed_outputs_of_another_address_wait(world: World) -> None:
    source = other(world)
    world.fund(1, 5000, address=source.address)
    assert pool_sweep.sweep_address(source, world.address).outcome == SweepOutcome.NOTHING
    world.mine()
    assert pool_sweep.sweep_address(source, world.address).outcome == SweepOutcome.DONE


def test_m14_planning_to_sweep_an_address_writes_and_signs_nothing(world: World) -> None:
    source = other(world)
    world.fund(3, 700, address=source.address)
    world.mine()
    before = world.snapshot()
    planned = pool_sweep.plan_address(source, world.address)
    assert (planned.count, len(planned.rounds)) == (3, 1)
    assert world.snapshot() == before


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("destination", PrivateKey.from_hex("33" * 32).public_key.address(Network.MAIN), "network"),
        ("destination", STRANGER[:-1] + ("a" if STRANGER[-1] != "a" else "b"), "checksum"),
        ("destination", "2N2JD6wb56AfK4tfmM6PwdVmoYk2dCKf4Br", "P2PKH"),
        ("destination", "", "25 to 35"),
        ("address", "not an address", "25 to 35"),
        ("key_identifier", "nobody", "has no key named 'nobody'"),
        ("key_identifier", "issuer", "is not that of"),
    ],
)
def test_a_bad_address_or_key_is_refused(world: World, field: str, value: str, reason: str) -> None:
    source = other(world)
    given = {
        "address": source.address,
        "key_identifier": source.key_identifier,
        "destination": world.address,
        field: value,
    }
    before = world.snapshot()
    with pytest.raises(InvalidInputError, match=reason) as refused:
        pool_sweep.sweep_address(
            Watched(given["address"], given["key_identifier"]), given["destination"]
        )
    assert refused.value.details[0]["field"] == field
    assert world.snapshot() == before


def test_an_address_is_not_swept_into_itself(world: World) -> None:
    with pytest.raises(InvalidInputError, match="is the address that is to be swept"):
        pool_sweep.sweep_address(Watched.funding(), world.address)


def test_without_a_chain_service_nothing_is_swept(world: World) -> None:
    source = other(world)
    world.set_faults({"kind": "status", "status": 503})
    before = world.snapshot()
    with pytest.raises(ServiceUnavailableError):
        pool_sweep.sweep_address(source, world.address)
    assert world.snapshot() == before
