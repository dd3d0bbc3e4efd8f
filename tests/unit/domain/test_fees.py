import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import p2pkh_locking_script, p2pkh_unlocking_script
from app.bitcoin.sighash import sighashes
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput, signed_size
from app.domain.envelope import Envelope, Kind
from app.domain.fees import (
    DUST_SATOSHIS,
    InsufficientFundsError,
    fee_for_size,
    raised_rate,
    required_fee,
    spending_cost,
    with_change,
)

KEY = PrivateKey.from_hex("11" * 32)
HASH160 = KEY.public_key.hash160()
SCRIPT = p2pkh_locking_script(HASH160)
DATA = TxOutput(0, Envelope(Kind.REGISTRATION, bytes(300)).to_locking_script())
CHANGE_SIZE = 34


def spending(*amounts: int) -> Transaction:
    inputs = tuple(
        TxInput(Outpoint("aa" * 32, vout), TxOutput(satoshis, SCRIPT))
        for vout, satoshis in enumerate(amounts)
    )
    return Transaction(inputs, (DATA,))


@pytest.mark.parametrize(
    ("size", "rate", "fee"),
    [(0, 50, 0), (1, 50, 1), (20, 50, 1), (21, 50, 2), (1000, 50, 50), (1001, 1, 2), (191, 0, 0)],
)
def test_fee_is_rounded_up(size: int, rate: int, fee: int) -> None:
    assert fee_for_size(size, rate) == fee


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_fee_never_falls_short_by_a_satoshi(size: int, rate: int) -> None:
    fee = fee_for_size(size, rate)
    assert fee * 1000 >= size * rate > (fee - 1) * 1000


@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=20), st.integers(0, 2_000))
def test_what_is_signed_pays_its_fee_and_no_more_than_it_must(
    amounts: list[int], rate: int
) -> None:
    unsigned = spending(*amounts)
    try:
        planned = with_change(unsigned, HASH160, rate)
    except InsufficientFundsError as error:
        lacking = required_fee(unsigned, rate) - sum(amounts)
        assert error.missing_satoshis == lacking > 0  # noqa: PT017  # depends on the amounts
        return
    public_key = KEY.public_key.to_bytes()
    signed = planned.with_unlocking_scripts(
        [p2pkh_unlocking_script(KEY.sign(each), public_key) for each in sighashes(planned)]
    )
    assert signed.fee_satoshis >= fee_for_size(signed.size, rate)
    if len(planned.outputs) == 2:
        assert planned.outputs[1].locking_script == SCRIPT
        assert planned.outputs[1].satoshis >= DUST_SATOSHIS
        assert planned.outputs[1].satoshis > spending_cost(rate)
        assert planned.fee_satoshis == required_fee(planned, rate)
    else:
        with_output_size = signed_size(planned) + CHANGE_SIZE
        most = fee_for_size(with_output_size, rate) + max(DUST_SATOSHIS - 1, spending_cost(rate))
        assert planned.fee_satoshis <= most


def test_change_that_would_not_pay_for_its_own_spending_is_left_to_the_fee() -> None:
    need = required_fee(spending(1), 1_000)
    dust = spending_cost(1_000)
    assert dust == 148
    assert len(with_change(spending(need), HASH160, 1_000).outputs) == 1
    assert len(with_change(spending(need + CHANGE_SIZE + dust), HASH160, 1_000).outputs) == 1
    planned = with_change(spending(need + CHANGE_SIZE + dust + 1), HASH160, 1_000)
    assert planned.outputs[1].satoshis == dust + 1


def test_inputs_that_lack_a_satoshi_are_refused() -> None:
    need = required_fee(spending(1), 1_000)
    with pytest.raises(InsufficientFundsError, match="lack 1 satoshis") as caught:
        with_change(spending(need - 1), HASH160, 1_000)
    assert caught.value.missing_satoshis == 1


@pytest.mark.parametrize(
    ("fee_satoshis", "size_bytes", "cap", "rate"),
    [(50, 1000, 2000, 75), (51, 1000, 2000, 77), (1, 1000, 2000, 2), (50, 1000, 60, 60)],
)
def test_a_refused_fee_is_raised_by_half_up_to_the_cap(
    fee_satoshis: int, size_bytes: int, cap: int, rate: int
) -> None:
    assert raised_rate(fee_satoshis, size_bytes, cap) == rate
