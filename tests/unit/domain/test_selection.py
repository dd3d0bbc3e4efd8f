from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import data_locking_script, p2pkh_locking_script
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.domain.fees import with_change
from app.domain.selection import Need, assign

HASH160 = PrivateKey.from_hex("11" * 32).public_key.hash160()
SCRIPT = p2pkh_locking_script(HASH160)
DATA = TxOutput(0, data_locking_script([b"x" * 300]))


@dataclass(frozen=True)
class Coin:
    outpoint: str
    satoshis: int


def coins(*satoshis: int) -> list[Coin]:
    return [Coin(f"{number:064x}:0", each) for number, each in enumerate(satoshis, start=1)]


def amounts(chosen: list[list[Coin]]) -> list[list[int]]:
    return [[coin.satoshis for coin in each] for each in chosen]


NEED = Need((DATA,), 100)
ALONE = NEED.satoshis_with(1)
PAIR = NEED.satoshis_with(2)


def test_each_need_gets_a_coin_of_its_own() -> None:
    chosen = assign(coins(1000, 1000, 1000), [NEED] * 3)

    assert len({coin.outpoint for each in chosen for coin in each}) == 3
    assert amounts(chosen) == [[1000], [1000], [1000]]


def test_the_first_that_suffices_alone_is_taken() -> None:
    assert amounts(assign(coins(ALONE - 1, ALONE, 9999), [NEED])) == [[ALONE]]


def test_without_one_that_suffices_several_are_gathered_the_largest_first() -> None:
    assert amounts(assign(coins(10, ALONE - 1, PAIR - ALONE + 1), [NEED])) == [
        [ALONE - 1, PAIR - ALONE + 1]
    ]


def test_what_does_not_suffice_is_left_to_the_next() -> None:
    small = Need((), 100)

    chosen = assign(coins(40), [NEED, small])

    assert amounts(chosen) == [[], [40]]


def test_without_coins_nobody_gets_any() -> None:
    assert assign([], [NEED, NEED]) == [[], []]


def test_a_coin_that_costs_more_than_it_holds_is_not_gathered_for_ever() -> None:
    assert assign(coins(*[5] * 50), [NEED]) == [[]]


@given(
    st.lists(st.integers(1, 3000), max_size=12),
    st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 2000)), min_size=1, max_size=5),
    st.integers(1, 1000),
)
def test_p3_no_coin_is_given_twice_and_each_gift_pays(
    satoshis: list[int], wishes: list[tuple[int, int]], rate: int
) -> None:
    held = coins(*satoshis)
    needs = [
        Need((TxOutput(paid, SCRIPT), TxOutput(0, data_locking_script([b"x" * size]))), rate)
        for size, paid in wishes
    ]

    chosen = assign(held, needs)

    given_away = [coin.outpoint for each in chosen for coin in each]
    assert len(given_away) == len(set(given_away))
    for need, each in zip(needs, chosen, strict=True):
        if each:
            # Raises when they don't pay for outputs and fee at the largest signed size.
            with_change(transaction_of(need, each), HASH160, rate)


def transaction_of(need: Need, chosen: list[Coin]) -> Transaction:
    """What is built of a plan."""
    inputs = tuple(
        TxInput(Outpoint.from_text(coin.outpoint), TxOutput(coin.satoshis, SCRIPT))
        for coin in chosen
    )
    return Transaction(inputs, need.outputs)
