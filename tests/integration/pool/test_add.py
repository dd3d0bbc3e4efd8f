"""An output is added by hand only as the chain and the signer know it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.bitcoin.addresses import Network
from app.clients.outcomes import ServiceUnavailableError
from app.errors import ConflictError, InvalidInputError, LockHeldError, NotFoundError
from app.models.utxo import Utxo
from app.services import pool_add, pool_sync
from app.services.maintenance import exclusive
from app.services.pool_add import Claim
from tests.integration.pool.world import World


def claim(world: World, point: str, satoshis: int = 5000) -> Claim:
    txid, vout = point.split(":")
    return Claim(txid, int(vout), satoshis, world.key_identifier)


def test_an_output_enters_with_its_confirmations(world: World) -> None:
    [point] = world.fund(1, 5000)
    added = pool_add.add(claim(world, point))
    assert (added.is_new, added.status, added.confirmations) == (True, "unconfirmed", 0)
    [mined] = world.fund(1, 6000)
    world.mine(2)
    full = replace(
        claim(world, mined, 6000),
        txid=mined.split(":")[0].upper(),
        address=world.address,
        locking_script_hex=f"76A914{world.key.public_key.hash160().hex()}88AC",
    )
    added = pool_add.add(full)
    assert (added.is_new, added.status, added.confirmations) == (True, "available", 2)
    assert pool_sync.sync().added == 0


def test_m2_a_known_output_keeps_its_status(world: World) -> None:
    [point] = world.fill(1, 5000)
    Utxo.objects(outpoint=point).update(set__status="locked", set__held=True)
    added = pool_add.add(claim(world, point))
    assert (added.is_new, added.status) == (False, "locked")


def test_an_output_of_another_key_is_kept_apart(world: World) -> None:
    name, key = world.signer.take_key()
    [point] = world.fund(1, 5000, address=key.public_key.address(Network.REGTEST))
    world.mine()
    added = pool_add.add(replace(claim(world, point), key_identifier=name))
    assert added.is_new
    assert world.amounts() == []


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"satoshis": 4999}, InvalidInputError, "the output holds 5000, not 4999"),
        ({"vout": 2}, NotFoundError, "does not know"),
        ({"txid": "ab" * 32}, NotFoundError, "does not know"),
        ({"txid": "ab"}, InvalidInputError, "64 lower-case hex"),
        ({"key_identifier": "nobody"}, InvalidInputError, "no key named 'nobody'"),
        ({"key_identifier": "issuer"}, InvalidInputError, "does not unlock this output"),
        ({"address": "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"}, InvalidInputError, "has the address"),
        ({"locking_script_hex": "6a"}, InvalidInputError, "the output's script is 76a914"),
    ],
)
def test_what_the_chain_contradicts_is_refused(
    world: World, changes: dict[str, Any], error: type[Exception], reason: str
) -> None:
    [point] = world.fund(1, 5000)
    before = world.snapshot()
    with pytest.raises(error, match=reason):
        pool_add.add(replace(claim(world, point), **changes))
    assert world.snapshot() == before


@pytest.mark.parametrize("is_mined", [False, True])
def test_a_spent_output_is_refused(world: World, is_mined: bool) -> None:
    [point] = world.fill(1, 5000)
    txid = world.spend_outside([point])
    if is_mined:
        world.mine()
    Utxo.objects.delete()
    with pytest.raises(ConflictError, match=f"is spent by {txid}"):
        pool_add.add(claim(world, point))
    assert Utxo.objects.count() == 0


@pytest.mark.parametrize("path", ["/chain/info", "/spent", "/hex", "/txs/status"])
@pytest.mark.parametrize("kind", ["garbage", "status"])
def test_without_a_clear_answer_nothing_is_added(world: World, path: str, kind: str) -> None:
    [point] = world.fund(1, 5000)
    world.set_faults({"kind": kind, "path": path})
    with pytest.raises(ServiceUnavailableError):
        pool_add.add(claim(world, point))
    assert Utxo.objects.count() == 0


def test_m13_it_waits_for_nobody(world: World) -> None:
    [point] = world.fund(1, 5000)
    with exclusive(), pytest.raises(LockHeldError):
        pool_add.add(claim(world, point))


def test_m14_a_check_writes_nothing(world: World) -> None:
    [point] = world.fund(1, 5000)
    before = world.snapshot()
    checked, confirmations = pool_add.check(claim(world, point))
    assert (str(checked.outpoint), checked.satoshis, confirmations) == (point, 5000, 0)
    assert world.snapshot() == before
