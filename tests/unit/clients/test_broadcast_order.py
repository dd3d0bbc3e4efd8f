"""Parents go before their children, and nothing goes twice."""

import random

from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.clients.broadcasting import RawTransaction, order_parents_first

ELSEWHERE = "11" * 32


def raw(*parents: str, number: int = 0) -> RawTransaction:
    inputs = tuple(
        TxInput(Outpoint(txid, number), TxOutput(1, b"")) for txid in parents or (ELSEWHERE,)
    )
    transaction = Transaction(inputs, (TxOutput(number, b"\x51"),))
    return RawTransaction(transaction.txid, transaction.to_hex())


def test_children_wait_for_their_parents() -> None:
    parent = raw(number=1)
    child = raw(parent.txid)
    grandchild = raw(child.txid, parent.txid)

    assert order_parents_first([grandchild, child, parent]) == [parent, child, grandchild]


def test_strangers_keep_their_order() -> None:
    transactions = [raw(number=number) for number in range(20)]

    assert order_parents_first(transactions) == transactions


def test_one_is_sent_once_and_none_is_none() -> None:
    transaction = raw()

    assert order_parents_first([transaction, transaction]) == [transaction]
    assert order_parents_first([]) == []


def test_bytes_that_cannot_be_read_are_left_to_the_services() -> None:
    transactions = [RawTransaction("22" * 32, "nonsense"), RawTransaction("33" * 32, "")]

    assert order_parents_first(transactions) == transactions


@given(st.integers(1, 30), st.randoms(use_true_random=False))
def test_any_line_of_spends_is_put_right(length: int, chance: random.Random) -> None:
    line = [raw(number=1)]
    while len(line) < length:
        line.append(raw(chance.choice(line).txid, line[-1].txid, number=len(line)))
    shuffled = list(line)
    chance.shuffle(shuffled)

    assert order_parents_first(shuffled) == line
