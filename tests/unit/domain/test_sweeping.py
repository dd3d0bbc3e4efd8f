from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from app.domain.fees import spending_cost
from app.domain.sweeping import plan_sweep


@dataclass(frozen=True)
class Coin:
    outpoint: str
    satoshis: int


def coins(*amounts: int) -> list[Coin]:
    return [Coin(f"{n:064x}:0", satoshis) for n, satoshis in enumerate(amounts)]


def test_dust_is_gathered_in_chunks() -> None:
    rounds = plan_sweep(coins(*[900] * 450), satoshis_per_kilobyte=100, max_inputs=200)
    assert [len(each.outpoints) for each in rounds] == [200, 200, 50]
    assert [each.satoshis for each in rounds] == [180_000, 180_000, 45_000]


def test_an_output_that_costs_more_than_it_holds_stays() -> None:
    assert spending_cost(100) == 15
    [made] = plan_sweep(coins(15, 16, 5000, 1), satoshis_per_kilobyte=100, max_inputs=200)
    assert made.satoshis == 5016
    assert plan_sweep(coins(*[15] * 300), satoshis_per_kilobyte=100, max_inputs=200) == []


def test_a_sweep_that_would_make_dust_is_not_made() -> None:
    assert plan_sweep(coins(16, 17), satoshis_per_kilobyte=100, max_inputs=200) == []


def test_one_output_into_one_is_made_only_where_it_has_a_use() -> None:
    assert plan_sweep(coins(900), satoshis_per_kilobyte=100, max_inputs=2, min_inputs=2) == []
    assert len(plan_sweep(coins(900), satoshis_per_kilobyte=100, max_inputs=2)) == 1


@given(
    st.lists(st.integers(1, 3000), max_size=60),
    st.integers(1, 2000),
    st.integers(2, 20),
    st.integers(1, 2),
)
def test_every_round_is_bounded_worth_it_and_spends_each_output_once(
    amounts: list[int], rate: int, max_inputs: int, min_inputs: int
) -> None:
    given_coins = coins(*amounts)
    rounds = plan_sweep(
        given_coins, satoshis_per_kilobyte=rate, max_inputs=max_inputs, min_inputs=min_inputs
    )
    points = [point for each in rounds for point in each.outpoints]
    assert len(points) == len(set(points))
    held = {coin.outpoint: coin.satoshis for coin in given_coins}
    for each in rounds:
        assert min_inputs <= len(each.outpoints) <= max_inputs
        assert each.satoshis == sum(held[point] for point in each.outpoints)
        assert each.swept_satoshis > spending_cost(rate)
