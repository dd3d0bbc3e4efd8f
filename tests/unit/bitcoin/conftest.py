"""What the tests of the formats share."""

import os
from collections.abc import Callable

import pytest

from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import (
    data_locking_script,
    p2pkh_locking_script,
    p2pkh_unlocking_script,
)
from app.bitcoin.sighash import SIGHASH_ALL_FORKID, sighash
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput

# The public vectors are large and lie outside of the project: named, they run; else they are not
# part of the collection at all.
collect_ignore = [] if os.environ.get("PATCHPROOF_VECTORS") else ["test_public_vectors.py"]


@pytest.fixture
def key() -> PrivateKey:
    """The key of the contract's vectors."""
    return PrivateKey.from_hex("11" * 32)


@pytest.fixture
def make_unsigned(key: PrivateKey) -> Callable[[int], Transaction]:
    """Make a transaction that spends outputs of the key: data, and change to the key."""
    script = p2pkh_locking_script(key.public_key.hash160())

    def make(input_count: int) -> Transaction:
        inputs = tuple(
            TxInput(Outpoint(f"{number + 1:064x}", number % 7), TxOutput(1_000 + number, script))
            for number in range(input_count)
        )
        outputs = (TxOutput(0, data_locking_script([b"hello"])), TxOutput(900, script))
        return Transaction(inputs, outputs)

    return make


@pytest.fixture
def make_signed(
    key: PrivateKey, make_unsigned: Callable[[int], Transaction]
) -> Callable[..., Transaction]:
    """Make such a transaction with every input signed, by any key and sighash type."""

    def make(
        input_count: int, signer: PrivateKey = key, sighash_type: int = SIGHASH_ALL_FORKID
    ) -> Transaction:
        unsigned = make_unsigned(input_count)
        public_key = key.public_key.to_bytes()
        return unsigned.with_unlocking_scripts(
            [
                p2pkh_unlocking_script(
                    signer.sign(sighash(unsigned, index, sighash_type)), public_key, sighash_type
                )
                for index in range(input_count)
            ]
        )

    return make
