"""Settings that change without a restart, and where the fee comes from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.domain.clock import utc_now
from app.models.setting import FEE_POLICY, Setting
from app.services import fees, knobs
from tests.integration.pool.world import World

KEYS = {
    "FEE_PER_KB": ("satoshis_per_kilobyte", 100),
    "MIN_UTXO_COUNT": ("min_pool", 10),
    "UTXO_MAX_POOL": ("max_pool", 20),
    "UTXO_SPLIT_SIZE_SATS": ("split_size", 5000),
    "UTXO_SPLIT_SIZE_SATS_MIN": ("useful_satoshis", 1000),
    "MAX_SPLIT_OUTPUTS": ("max_split_outputs", 40),
    "SPLIT_COOLDOWN_MS": ("split_cooldown_ms", 0),
    "SPLIT_LEASE_MS": ("split_lease_ms", 300_000),
    "DUST_THRESHOLD_SATS": ("dust_threshold", 2000),
    "DUST_SWEEP_LIMIT": ("dust_sweep_limit", 20),
    "SWEEP_MAX_INPUTS": ("sweep_max_inputs", 200),
    "UTXO_MIN_CONFIRMATIONS": ("min_confirmations", 1),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("written", [int, str, float])
def test_f31_every_setting_counts_at_once_and_so_does_its_deletion(
    world: World, key: str, written: type
) -> None:
    name, default = KEYS[key]
    assert getattr(knobs.load(), name) == default
    world.put(**{key: written(37) if written is not float else 37.0})
    assert getattr(knobs.load(), name) == 37
    Setting.delete_key(key)
    assert getattr(knobs.load(), name) == default


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "value", [None, True, "", "many", -1, "-5", 1.5, "1.5", [3], {"a": 1}, 10**12, float("nan")]
)
def test_f31_a_value_that_makes_no_sense_is_ignored_and_said_so(
    world: World, caplog: pytest.LogCaptureFixture, key: str, value: Any
) -> None:
    name, default = KEYS[key]
    knobs._complained.clear()
    world.put(**{key: value})
    assert getattr(knobs.load(), name) == default
    knobs.load()
    assert caplog.text.count(f"the setting {key} is no whole number") == 1


def test_all_of_them_are_one_query(world: World) -> None:
    world.put(FEE_PER_KB=50, MIN_UTXO_COUNT=3)
    with world.count_commands() as count:
        knobs.load()
    assert count.total == 1


def test_the_marks_are_never_upside_down(world: World) -> None:
    world.put(MIN_UTXO_COUNT=50, UTXO_MAX_POOL=10)
    today = knobs.load()
    assert (today.min_pool, today.max_pool) == (50, 50)
    Setting.delete_key("UTXO_MAX_POOL")
    assert knobs.load().max_pool == 100


def test_what_a_split_makes_is_useful(world: World) -> None:
    world.put(UTXO_SPLIT_SIZE_SATS=3000, UTXO_SPLIT_SIZE_SATS_MIN=4000)
    assert knobs.load().useful_satoshis == 3000


def test_o15_the_fee_is_the_operators_then_the_networks_then_the_environments(
    world: World,
) -> None:
    world.configure(FEE_PER_KB="321")
    assert _fee() == (321, "environment")
    assert fees.refresh() == 50
    assert _fee() == (50, "policy")
    fees.fix(250)
    assert _fee() == (250, "settings")
    assert fees.satoshis_per_kilobyte() == 250
    assert fees.unfix()
    assert not fees.unfix()
    assert _fee() == (50, "policy")


def test_an_old_policy_is_not_used(world: World) -> None:
    world.configure(FEE_PER_KB="321", FEE_POLICY_MAX_AGE_SECONDS="600")
    fees.refresh()
    age = utc_now() - timedelta(seconds=599)
    Setting.objects(key=FEE_POLICY).update(set__updated_at=age)
    assert _fee() == (50, "policy")
    Setting.objects(key=FEE_POLICY).update(set__updated_at=age - timedelta(seconds=2))
    assert _fee() == (321, "environment")


@pytest.mark.parametrize(
    "fault", [{"kind": "garbage"}, {"kind": "status", "status": 503}, {"kind": "cut_before"}]
)
def test_a_service_that_names_no_fee_changes_nothing(world: World, fault: dict[str, Any]) -> None:
    fees.refresh()
    before = world.snapshot()
    world.set_faults(fault | {"path": "/feerecommendation"})
    assert fees.refresh() is None
    assert world.snapshot() == before


def test_the_network_can_not_ask_for_more_than_the_operator_allows(world: World) -> None:
    world.configure(FEE_PER_KB_MAX="40")
    fees.refresh()
    assert _fee() == (40, "policy")
    # A slip of the operator's own hand is no fee either.
    world.put(FEE_PER_KB=41)
    assert _fee() == (40, "policy")


def test_f32_there_is_one_database_for_the_fee(world: World) -> None:
    world.configure(MONGODB_DB="patchproof_elsewhere")
    fees.fix(777)
    assert _fee() == (777, "settings")


def test_the_older_name_of_the_fee_still_counts(world: World) -> None:
    assert world.configure(WOC_FEE_PER_KB="44").fee_per_kb == 44
    assert world.configure(WOC_FEE_PER_KB="44", FEE_PER_KB="55").fee_per_kb == 44


def _fee() -> tuple[int, str]:
    today = knobs.load()
    return today.satoshis_per_kilobyte, today.fee_source
