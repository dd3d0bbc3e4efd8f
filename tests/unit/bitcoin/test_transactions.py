import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bsv.script.script import Script
from bsv.transaction import Transaction as SdkTransaction
from bsv.transaction_output import TransactionOutput
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.errors import InvalidTransactionError
from app.bitcoin.transactions import (
    MAX_SATOSHIS,
    Outpoint,
    Transaction,
    TxInput,
    TxOutput,
    signed_size,
)

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "sighash.json").read_text())

txids = st.binary(min_size=32, max_size=32).map(bytes.hex)
outpoints = st.builds(Outpoint, txids, st.integers(0, 0xFFFFFFFF))
outputs = st.builds(TxOutput, st.integers(0, MAX_SATOSHIS), st.binary(max_size=300))
inputs = st.builds(TxInput, outpoints, outputs, st.binary(max_size=300), st.integers(0, 0xFFFFFFFF))
transactions = st.builds(
    Transaction,
    st.lists(inputs, min_size=1, max_size=4).map(tuple),
    st.lists(outputs, max_size=4).map(tuple),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 0xFFFFFFFF),
)


def without_spent(transaction: Transaction) -> Transaction:
    bare = tuple(replace(tx_input, spent=None) for tx_input in transaction.inputs)
    return replace(transaction, inputs=bare)


def test_the_contracts_transaction_round_trips_and_has_its_txid() -> None:
    transaction = Transaction.from_hex(VECTOR["raw"])
    assert transaction.to_hex() == VECTOR["raw"]
    assert transaction.txid == VECTOR["txid"]
    assert transaction.size == len(VECTOR["raw"]) // 2
    assert str(transaction.inputs[0].outpoint) == VECTOR["outpoint"]
    assert Transaction.from_hex(VECTOR["raw"].upper()) == transaction


@given(transactions)
def test_transactions_round_trip_in_both_formats(transaction: Transaction) -> None:
    assert Transaction.from_bytes(transaction.to_bytes()) == without_spent(transaction)
    assert Transaction.from_hex(transaction.to_extended_hex()) == transaction


@given(transactions)
def test_another_library_reads_the_same_transaction(transaction: Transaction) -> None:
    if not transaction.outputs:
        return
    other = SdkTransaction.from_hex(transaction.to_hex())
    assert other is not None
    assert other.hex() == transaction.to_hex()
    assert other.txid() == transaction.txid


def test_another_library_writes_the_same_extended_format(
    make_signed: Callable[..., Transaction],
) -> None:
    transaction = make_signed(3)
    other = SdkTransaction.from_hex(transaction.to_hex())
    assert other is not None
    for theirs, ours in zip(other.inputs, transaction.inputs, strict=True):
        spent = ours.require_spent()
        output = TransactionOutput(Script(spent.locking_script), spent.satoshis)
        padding = [TransactionOutput(Script(b""), 0)] * ours.outpoint.vout
        theirs.source_transaction = SdkTransaction([], [*padding, output])
    assert other.to_ef().hex() == transaction.to_extended_hex()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_transaction_or_an_error(raw: bytes) -> None:
    try:
        transaction = Transaction.from_bytes(raw)
    except InvalidTransactionError:
        return
    is_extended = raw[4:10].hex() == "0000000000ef"
    assert (
        bytes.fromhex(transaction.to_extended_hex()) if is_extended else transaction.to_bytes()
    ) == raw


@given(transactions, st.data())
def test_a_changed_byte_gives_an_error_or_another_transaction(
    transaction: Transaction, data: st.DataObject
) -> None:
    raw = bytearray(transaction.to_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        changed = Transaction.from_bytes(bytes(raw))
    except InvalidTransactionError:
        return
    assert changed.to_bytes() == bytes(raw) or bytes(raw)[4:10].hex() == "0000000000ef"


@given(transactions, st.data())
def test_a_cut_or_a_longer_transaction_is_refused(
    transaction: Transaction, data: st.DataObject
) -> None:
    raw = transaction.to_bytes()
    with pytest.raises(InvalidTransactionError):
        Transaction.from_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(InvalidTransactionError):
        Transaction.from_bytes(raw + data.draw(st.binary(min_size=1, max_size=5)))


@given(st.text(max_size=60))
def test_any_text_is_a_transaction_or_an_error(text: str) -> None:
    with pytest.raises(InvalidTransactionError):
        Transaction.from_hex(text)
    with pytest.raises(InvalidTransactionError):
        Outpoint.from_text(text)


@pytest.mark.parametrize("count", ["ffffffffffffffffff", "feffffff7f", "fdffff"])
def test_an_absurd_count_is_refused_before_anything_is_allocated(count: str) -> None:
    with pytest.raises(InvalidTransactionError, match="ends too early"):
        Transaction.from_hex("01000000" + count + "00" * 60)


@given(outpoints)
def test_outpoints_round_trip_as_text(outpoint: Outpoint) -> None:
    assert Outpoint.from_text(str(outpoint)) == outpoint


@pytest.mark.parametrize(
    "text",
    [
        "aa" * 32,
        "aa" * 32 + ":",
        "aa" * 32 + ":-1",
        "aa" * 32 + ":01",
        "aa" * 32 + ": 1",
        "aa" * 32 + ":1 ",
        "aa" * 32 + ":1_0",
        "aa" * 32 + ":\u0661",
        "aa" * 32 + ":4294967296",
        "AA" * 32 + ":0",
        "aa" * 31 + ":0",
        None,
    ],
)
def test_other_text_is_no_outpoint(text: str) -> None:
    with pytest.raises(InvalidTransactionError):
        Outpoint.from_text(text)


@pytest.mark.parametrize("txid", ["", "AA" * 32, "aa" * 33])
def test_an_outpoint_has_a_txid(txid: str) -> None:
    with pytest.raises(InvalidTransactionError, match="64 lower-case hex"):
        Outpoint(txid, 0)


@pytest.mark.parametrize("vout", [-1, 2**32])
def test_an_output_index_has_32_bits(vout: int) -> None:
    with pytest.raises(InvalidTransactionError):
        Outpoint("aa" * 32, vout)


@pytest.mark.parametrize("satoshis", [-1, MAX_SATOSHIS + 1])
def test_an_amount_that_cannot_exist_is_refused(satoshis: int) -> None:
    with pytest.raises(InvalidTransactionError):
        TxOutput(satoshis, b"")


def test_fee_is_what_is_left_and_needs_the_spent_outputs(
    make_unsigned: Callable[[int], Transaction],
) -> None:
    transaction = make_unsigned(2)
    assert transaction.fee_satoshis == 1_000 + 1_001 - 900
    with pytest.raises(InvalidTransactionError, match="not known"):
        _ = without_spent(transaction).fee_satoshis
    with pytest.raises(InvalidTransactionError, match="not known"):
        without_spent(transaction).to_extended_hex()


@pytest.mark.parametrize("input_count", [1, 2, 10, 252, 253, 300])
def test_signed_size_is_a_close_upper_bound(
    make_unsigned: Callable[[int], Transaction],
    make_signed: Callable[..., Transaction],
    input_count: int,
) -> None:
    bound = signed_size(make_unsigned(input_count))
    signed = make_signed(input_count)
    assert bound - 4 * input_count <= signed.size <= bound
    assert signed_size(signed) == signed_size(without_spent(signed)) == bound


def test_signed_size_counts_another_kind_of_input_as_it_is() -> None:
    script = TxOutput(5, b"\x51")
    transaction = Transaction((TxInput(Outpoint("aa" * 32, 0), script, b"\x51"),), ())
    assert signed_size(transaction) == transaction.size


def test_each_input_takes_one_unlocking_script(
    make_unsigned: Callable[[int], Transaction],
) -> None:
    transaction = make_unsigned(2)
    signed = transaction.with_unlocking_scripts([b"a", b"b"])
    assert [each.unlocking_script for each in signed.inputs] == [b"a", b"b"]
    assert signed.inputs[0].spent == transaction.inputs[0].spent
    assert signed.txid != transaction.txid
    with pytest.raises(InvalidTransactionError):
        transaction.with_unlocking_scripts([b"a"])
