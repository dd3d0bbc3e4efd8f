import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bsv.constants import SIGHASH
from bsv.script.script import Script
from bsv.transaction import Transaction as SdkTransaction
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.errors import InvalidTransactionError
from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import p2pkh_locking_script, p2pkh_unlocking_script
from app.bitcoin.sighash import SighashHasher, sighash, sighashes
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "sighash.json").read_text())

scripts = st.binary(min_size=1, max_size=300)
outputs = st.builds(TxOutput, st.integers(0, 10**15), scripts)
inputs = st.builds(
    TxInput,
    st.builds(
        Outpoint, st.binary(min_size=32, max_size=32).map(bytes.hex), st.integers(0, 2**32 - 1)
    ),
    outputs,
    st.just(b""),
    st.integers(0, 2**32 - 1),
)
transactions = st.builds(
    Transaction,
    st.lists(inputs, min_size=1, max_size=5).map(tuple),
    st.lists(outputs, min_size=1, max_size=5).map(tuple),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**32 - 1),
)


def unsigned_vector(key: PrivateKey) -> Transaction:
    script = p2pkh_locking_script(key.public_key.hash160())
    spent = TxOutput(VECTOR["satoshis"], script)
    bare = Transaction.from_hex(VECTOR["raw"])
    unsigned = TxInput(Outpoint.from_text(VECTOR["outpoint"]), spent)
    return replace(bare, inputs=(unsigned,))


def sdk_sighash(transaction: Transaction, index: int, sighash_type: int) -> bytes:
    """Hash with the other implementation."""
    other = SdkTransaction.from_hex(transaction.to_hex())
    assert other is not None
    for theirs, ours in zip(other.inputs, transaction.inputs, strict=True):
        spent = ours.require_spent()
        theirs.satoshis, theirs.locking_script = spent.satoshis, Script(spent.locking_script)
        theirs.sighash = SIGHASH(sighash_type)
    return bytes(other.signature_hash(index))


def test_f4_sighash_is_the_contracts_in_natural_order(key: PrivateKey) -> None:
    unsigned = unsigned_vector(key)
    assert sighashes(unsigned) == [bytes.fromhex(VECTOR["sighash_natural"])]
    assert sighash(unsigned, 0).hex() == VECTOR["sighash_natural"]
    assert sighash(unsigned, 0)[::-1].hex() == VECTOR["sighash_reversed"]


def test_f4_signing_the_sighash_gives_the_contracts_transaction(key: PrivateKey) -> None:
    unsigned = unsigned_vector(key)
    signature = key.sign(sighashes(unsigned)[0])
    script = p2pkh_unlocking_script(signature, key.public_key.to_bytes())
    signed = unsigned.with_unlocking_scripts([script])
    assert signed.to_hex() == VECTOR["raw"]
    assert signed.txid == VECTOR["txid"]


@given(transactions)
def test_every_input_hashes_as_in_another_implementation(transaction: Transaction) -> None:
    expected = [sdk_sighash(transaction, n, 0x41) for n in range(len(transaction.inputs))]
    assert sighashes(transaction) == expected
    assert [sighash(transaction, n) for n in range(len(transaction.inputs))] == expected


@given(transactions, st.sampled_from([0x41, 0x42, 0x43, 0xC1, 0xC2, 0xC3]))
def test_every_type_hashes_as_in_another_implementation(
    transaction: Transaction, sighash_type: int
) -> None:
    for index in range(len(transaction.inputs)):
        assert sighash(transaction, index, sighash_type) == sdk_sighash(
            transaction, index, sighash_type
        )


def test_what_the_inputs_share_is_hashed_once(
    make_unsigned: Callable[[int], Transaction], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    original = SighashHasher.digest.__globals__["double_sha256"]

    def counted(data: bytes) -> bytes:
        hashed.append(len(data))
        return bytes(original(data))

    monkeypatch.setattr("app.bitcoin.sighash.double_sha256", counted)
    sighashes(make_unsigned(100))
    assert len(hashed) == 100 + 3


def test_an_unknown_spent_output_or_input_is_refused(
    make_unsigned: Callable[[int], Transaction],
) -> None:
    transaction = make_unsigned(1)
    bare = replace(transaction, inputs=(replace(transaction.inputs[0], spent=None),))
    with pytest.raises(InvalidTransactionError, match="not known"):
        sighashes(bare)
    for index in (-1, 1):
        with pytest.raises(InvalidTransactionError, match="no input"):
            sighash(transaction, index)
        with pytest.raises(InvalidTransactionError, match="no input"):
            SighashHasher(transaction).digest(index, b"", 0, 0x41)
