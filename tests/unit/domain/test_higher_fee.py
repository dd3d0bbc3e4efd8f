"""A higher fee comes out of what is ours, and out of nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.scripts import p2pkh_locking_script
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.domain.fees import required_fee, spending_cost, with_higher_fee

OURS, THEIRS = p2pkh_locking_script(b"\x01" * 20), p2pkh_locking_script(b"\x02" * 20)


def transaction(*outputs: TxOutput, fee: int = 10) -> Transaction:
    total = sum(output.satoshis for output in outputs) + fee
    spent = TxInput(Outpoint("ab" * 32, 0), TxOutput(total, OURS))
    return Transaction((spent,), outputs)


@given(
    ours=st.lists(st.integers(1, 10_000), min_size=1, max_size=4),
    theirs=st.integers(1, 100_000),
    rate=st.integers(1, 2000),
)
def test_the_largest_of_ours_pays_exactly_the_rate(ours: list[int], theirs: int, rate: int) -> None:
    before = transaction(TxOutput(theirs, THEIRS), *(TxOutput(each, OURS) for each in ours))

    after = with_higher_fee(before, range(1, len(ours) + 1), rate)

    missing = required_fee(before, rate) - before.fee_satoshis
    if after is None:
        assert missing <= 0 or max(ours) - missing <= spending_cost(rate)
        return
    assert after.inputs == before.inputs
    assert after.fee_satoshis == required_fee(after, rate) > before.fee_satoshis
    changed = [
        n
        for n, pair in enumerate(zip(before.outputs, after.outputs, strict=True))
        if pair[0] != pair[1]
    ]
    assert [before.outputs[n].satoshis for n in changed] == [max(ours)]
    assert after.outputs[0] == before.outputs[0]


@pytest.mark.parametrize("vouts", [[], [0]])
def test_without_an_output_that_is_worth_it_nothing_changes(vouts: list[int]) -> None:
    assert with_higher_fee(transaction(TxOutput(20, OURS)), vouts, 500) is None
