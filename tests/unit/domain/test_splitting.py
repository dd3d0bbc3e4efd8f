from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.scripts import p2pkh_locking_script
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.domain.fees import InsufficientFundsError, required_fee, spending_cost
from app.domain.splitting import SplitRule, plan_split, price_split

SCRIPT = p2pkh_locking_script(bytes(20))


@dataclass(frozen=True)
class Coin:
    outpoint: str
    satoshis: int


def coins(*amounts: int) -> list[Coin]:
    return [Coin(f"{n:064x}:0", satoshis) for n, satoshis in enumerate(amounts)]


def rule(**changes: int) -> SplitRule:
    values = {
        "low": 10,
        "high": 20,
        "size": 5000,
        "useful_satoshis": 1000,
        "max_outputs": 40,
        "satoshis_per_kilobyte": 100,
    }
    return SplitRule(**values | changes)


def test_a_pool_at_its_low_mark_needs_nothing() -> None:
    planned = plan_split(coins(*[1000] * 10), rule(), max_rounds=50)
    assert (planned.rounds, planned.available, planned.expected) == ((), 10, 10)


def test_only_useful_outputs_count() -> None:
    planned = plan_split(coins(*[999] * 30, 200_000), rule(), max_rounds=50)
    assert planned.available == 1
    assert planned.expected == planned.target == 20


def test_one_large_output_fills_the_pool_to_the_high_mark_exactly() -> None:
    planned = plan_split(coins(1_000_000), rule(), max_rounds=50)
    [made] = planned.rounds
    # The change is useful, and takes the place of the output that is split.
    assert (made.outputs, planned.expected) == (19, 20)
    assert made.satoshis == made.outputs * 5000 + made.fee_satoshis + made.change_satoshis


def test_one_output_that_can_not_pay_for_all_is_followed_by_others() -> None:
    planned = plan_split(coins(30_000, 60_000, 40_000), rule(), max_rounds=50)
    assert [each.satoshis for each in planned.rounds] == [60_000, 40_000]
    assert [each.outputs for each in planned.rounds] == [11, 6]
    assert planned.expected == 20


def test_a_round_makes_no_more_than_it_may_and_its_change_is_split_on() -> None:
    planned = plan_split(coins(10_000_000), rule(high=100, max_outputs=40), max_rounds=50)
    assert [each.outputs for each in planned.rounds] == [40, 40, 19]
    assert [each.outpoint is None for each in planned.rounds] == [False, True, True]
    assert planned.rounds[1].satoshis == planned.rounds[0].change_satoshis
    assert planned.expected == 100


def test_the_number_of_rounds_has_an_end() -> None:
    planned = plan_split(coins(10**9), rule(high=10_000), max_rounds=3)
    assert len(planned.rounds) == 3
    assert planned.is_short


@pytest.mark.parametrize("amounts", [(), (999,), (5000,), (5500, 5500), (4000, 100)])
def test_funds_that_gain_nothing_are_left_alone(amounts: tuple[int, ...]) -> None:
    planned = plan_split(coins(*amounts), rule(), max_rounds=50)
    assert planned.rounds == ()
    assert planned.is_short


def test_an_output_that_pays_for_one_and_useful_change_is_split() -> None:
    planned = plan_split(coins(7000), rule(), max_rounds=50)
    [made] = planned.rounds
    assert (made.outputs, planned.expected) == (1, 2)
    assert made.change_satoshis >= 1000


amounts = st.lists(st.integers(1, 400_000), max_size=12)
rules = st.builds(
    lambda low, more, size, share, most, rate: SplitRule(
        low=low,
        high=low + more,
        size=size,
        useful_satoshis=max(1, size * share // 100),
        max_outputs=most,
        satoshis_per_kilobyte=rate,
    ),
    st.integers(1, 20),
    st.integers(0, 30),
    st.integers(500, 10_000),
    st.integers(1, 100),
    st.integers(2, 60),
    st.integers(1, 1000),
)


@given(amounts, rules)
def test_every_plan_pays_its_fees_makes_no_dust_and_stops_at_the_mark(
    amounts: list[int], rule: SplitRule
) -> None:
    given_coins = coins(*amounts)
    planned = plan_split(given_coins, rule, max_rounds=20)
    pool = sorted(amounts)
    for made in planned.rounds:
        pool.remove(made.satoshis)
        paid = made.outputs * made.satoshis_each
        assert made.satoshis == paid + made.fee_satoshis + made.change_satoshis
        assert 1 <= made.outputs <= rule.max_outputs
        assert made.change_satoshis == 0 or made.change_satoshis > spending_cost(
            rule.satoshis_per_kilobyte
        )
        pool += [made.satoshis_each] * made.outputs
        pool += [made.change_satoshis] if made.change_satoshis else []
    useful = sum(satoshis >= rule.useful_satoshis for satoshis in pool)
    assert useful == planned.expected or not planned.rounds
    assert planned.expected >= planned.available
    if planned.rounds:
        assert planned.available < rule.low
        assert planned.available < useful <= rule.high


@given(st.integers(1, 400_000), st.integers(1, 40), rules)
def test_o15_the_price_is_that_of_the_transaction_that_is_signed(
    satoshis: int, outputs: int, rule: SplitRule
) -> None:
    try:
        fee, change = price_split(satoshis, outputs, rule)
    except InsufficientFundsError as error:
        assert error.missing_satoshis > 0  # noqa: PT017 - depends on the amounts
        return
    paid = [rule.size] * outputs + ([change] if change else [])
    transaction = Transaction(
        (TxInput(Outpoint("aa" * 32, 0), TxOutput(satoshis, SCRIPT)),),
        tuple(TxOutput(each, SCRIPT) for each in paid),
    )
    assert transaction.fee_satoshis == fee >= required_fee(transaction, rule.satoshis_per_kilobyte)
