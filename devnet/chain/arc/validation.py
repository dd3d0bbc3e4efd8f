"""What ARC checks by itself, in its order; it looks at no chain but to find what is spent."""

from dataclasses import replace

from app.bitcoin.errors import ScriptVerificationError
from app.bitcoin.interpreter import verify_input_scripts
from app.bitcoin.transactions import MAX_SATOSHIS, Transaction, TxInput, TxOutput
from devnet.chain.arc.problems import ProblemError
from devnet.chain.arc.requests import SubmitOptions
from devnet.chain.rules import MAX_TRANSACTION_BYTES, NULL_TXID
from devnet.chain.store import Store

_MINIMUM_BYTES = 61
_HIGHEST_PUSH = 0x60
_LENGTH_BYTES = {0x4C: 1, 0x4D: 2, 0x4E: 4}


def with_spent_outputs(store: Store, tx: Transaction) -> Transaction:
    """Return the transaction with what it spends: as it says itself, or as the chain knows."""
    return replace(tx, inputs=tuple(_with_spent(store, each, tx.txid) for each in tx.inputs))


def _with_spent(store: Store, tx_input: TxInput, txid: str) -> TxInput:
    if tx_input.spent is not None:
        return tx_input
    output = store.find_output(tx_input.outpoint)
    if output is None:
        raise ProblemError(460, "arc error 460: parent transaction not found", txid)
    return replace(tx_input, spent=TxOutput(output.satoshis, output.script))


def validate(tx: Transaction, options: SubmitOptions, satoshis_per_kilobyte: int) -> None:
    """Refuse what ARC refuses; every spent output must be known."""
    if options.skips_everything:
        return
    _check_inputs(tx)
    _check_outputs(tx)
    if tx.size < _MINIMUM_BYTES:
        raise _problem(463, tx, f"transaction size in bytes is less than {_MINIMUM_BYTES} bytes")
    if not all(is_push_only(tx_input.unlocking_script) for tx_input in tx.inputs):
        raise _problem(463, tx, "transaction input script is not push only")
    if not options.skips_fee:
        _check_fee(tx, satoshis_per_kilobyte)
    if not options.skips_scripts:
        _check_scripts(tx)


def _problem(status: int, tx: Transaction, cause: str) -> ProblemError:
    return ProblemError(status, f"arc error {status}: {cause}", tx.txid)


def _check_inputs(tx: Transaction) -> None:
    if not tx.inputs:
        raise _problem(462, tx, "transaction has no inputs")
    if not tx.outputs:
        raise _problem(464, tx, "transaction has no outputs")
    if tx.size > MAX_TRANSACTION_BYTES:
        raise _problem(474, tx, "transaction size in bytes is greater than the policy's limit")
    if any(tx_input.outpoint.txid == NULL_TXID for tx_input in tx.inputs):
        raise _problem(462, tx, "transaction input is a coinbase input")
    if sum(tx_input.require_spent().satoshis for tx_input in tx.inputs) > MAX_SATOSHIS:
        raise _problem(462, tx, "transaction input total satoshis is too high")


def _check_outputs(tx: Transaction) -> None:
    for output in tx.outputs:
        is_data = output.locking_script[:1] == b"\x6a" or output.locking_script[:2] == b"\x00\x6a"
        if is_data and output.satoshis > 0:
            raise _problem(464, tx, "transaction output is a data output with satoshis")
        if not is_data and output.satoshis == 0:
            raise _problem(464, tx, "transaction output satoshis is below the dust limit of 1")
    if sum(output.satoshis for output in tx.outputs) > MAX_SATOSHIS:
        raise _problem(464, tx, "transaction output total satoshis is too high")


def _check_fee(tx: Transaction, satoshis_per_kilobyte: int) -> None:
    expected = -(-tx.size * satoshis_per_kilobyte // 1000)
    if tx.fee_satoshis < expected:
        cause = (
            "transaction fee is too low\n"
            f"minimum expected fee: {expected}, actual fee: {tx.fee_satoshis}"
        )
        raise _problem(465, tx, cause)


def _check_scripts(tx: Transaction) -> None:
    try:
        verify_input_scripts(tx)
    except ScriptVerificationError as error:
        cause = f"script execution failed\nindex {error.input_index}: {error.detail}"
        raise _problem(461, tx, cause) from None


def is_push_only(script: bytes) -> bool:
    """Tell whether a script does nothing but push data."""
    position = 0
    while position < len(script):
        opcode = script[position]
        if opcode > _HIGHEST_PUSH:
            return False
        position += 1
        width = _LENGTH_BYTES.get(opcode, 0)
        size = int.from_bytes(script[position : position + width], "little") if width else 0
        position += width + (opcode if 1 <= opcode < 0x4C else size)
    return position == len(script)
