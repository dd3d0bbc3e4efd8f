"""What a transaction must pay and what is left as change."""

from collections.abc import Sequence
from dataclasses import replace

from app.bitcoin.scripts import P2PKH_UNLOCKING_SIZE, p2pkh_locking_script
from app.bitcoin.transactions import Transaction, TxOutput, signed_size

# Nodes of BSV relay any spendable output of at least one satoshi.
DUST_SATOSHIS = 1
# Outpoint, length of the script, script, sequence.
P2PKH_INPUT_SIZE = 36 + 1 + P2PKH_UNLOCKING_SIZE + 4


class InsufficientFundsError(ValueError):
    """The inputs hold less than the outputs and the fee; `missing_satoshis` says how much."""

    def __init__(self, missing_satoshis: int) -> None:
        super().__init__(f"The inputs lack {missing_satoshis} satoshis.")
        self.missing_satoshis = missing_satoshis


def fee_for_size(size_bytes: int, satoshis_per_kilobyte: int) -> int:
    """Return the fee in satoshis, rounded up; a kilobyte is 1000 bytes."""
    return -(-size_bytes * satoshis_per_kilobyte // 1000)


def raised_rate(fee_satoshis: int, size_bytes: int, cap: int) -> int:
    """Return half as much again, per kilobyte, as a refused transaction paid, at most the cap."""
    paid = -(-fee_satoshis * 1000 // size_bytes)
    return min(cap, -(-paid * 3 // 2))


def required_fee(transaction: Transaction, satoshis_per_kilobyte: int) -> int:
    """Return the fee that a transaction needs at its largest signed size."""
    return fee_for_size(signed_size(transaction), satoshis_per_kilobyte)


def spending_cost(satoshis_per_kilobyte: int) -> int:
    """Return the fee in satoshis for spending one P2PKH output: what holds no more is dust."""
    return fee_for_size(P2PKH_INPUT_SIZE, satoshis_per_kilobyte)


def with_change(
    transaction: Transaction, change_hash160: bytes, satoshis_per_kilobyte: int
) -> Transaction:
    """Return the transaction with one P2PKH change output added, or without where that were dust.

    Every spent output must be known. Raises InsufficientFundsError when the fee can't be paid.
    """
    unspent = transaction.fee_satoshis - required_fee(transaction, satoshis_per_kilobyte)
    if unspent < 0:
        raise InsufficientFundsError(-unspent)
    script = p2pkh_locking_script(change_hash160)
    draft = _with_output(transaction, TxOutput(0, script))
    change = draft.fee_satoshis - required_fee(draft, satoshis_per_kilobyte)
    if change < DUST_SATOSHIS or change <= spending_cost(satoshis_per_kilobyte):
        return transaction
    return _with_output(transaction, TxOutput(change, script))


def with_higher_fee(
    transaction: Transaction, vouts: Sequence[int], satoshis_per_kilobyte: int
) -> Transaction | None:
    """Return the transaction with the largest of some outputs cut down so that it pays the rate.

    None where it pays that already, or the rest of the output would not be worth its spending.
    """
    missing = required_fee(transaction, satoshis_per_kilobyte) - transaction.fee_satoshis
    if missing <= 0 or not vouts:
        return None
    largest = max(vouts, key=lambda vout: transaction.outputs[vout].satoshis)
    left = transaction.outputs[largest].satoshis - missing
    if left <= spending_cost(satoshis_per_kilobyte):
        return None
    outputs = list(transaction.outputs)
    outputs[largest] = TxOutput(left, outputs[largest].locking_script)
    return replace(transaction, outputs=tuple(outputs))


def _with_output(transaction: Transaction, output: TxOutput) -> Transaction:
    outputs = (*transaction.outputs, output)
    return Transaction(transaction.inputs, outputs, transaction.version, transaction.locktime)
