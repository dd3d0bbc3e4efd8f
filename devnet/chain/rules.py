"""The rules that need nothing but the transaction itself, in the node's order and words."""

from app.bitcoin.errors import InvalidTransactionError
from app.bitcoin.serialization import ByteReader
from app.bitcoin.transactions import MAX_SATOSHIS, SEQUENCE_FINAL, Transaction
from devnet.chain.verdicts import INVALID, NONSTANDARD, RejectionError, UndecodableError

MAX_TRANSACTION_BYTES = 10_000_000
EXTENDED_MARKER = bytes.fromhex("0000000000ef")
NULL_TXID = "00" * 32
_LOCKTIME_IS_TIME = 500_000_000
_NULL_VOUT = 0xFFFFFFFF


def decode(raw: bytes) -> Transaction:
    """Read a transaction in the plain format, as a node does: nothing before, nothing after."""
    if raw[4:10] == EXTENDED_MARKER:
        raise UndecodableError
    try:
        return Transaction.from_bytes(raw)
    except InvalidTransactionError:
        _refuse_value_out_of_range(raw)
        raise UndecodableError from None


def _refuse_value_out_of_range(raw: bytes) -> None:
    """Find the output that only its value makes unreadable, and refuse it as the node does."""
    for satoshis in _find_output_values(raw):
        if satoshis < 0:
            raise RejectionError("bad-txns-vout-negative", INVALID)
        if satoshis > MAX_SATOSHIS:
            raise RejectionError("bad-txns-vout-toolarge", INVALID)


def _find_output_values(raw: bytes) -> list[int]:
    reader = ByteReader(raw, InvalidTransactionError, "The transaction")
    values = []
    try:
        reader.read(4)
        for _ in range(reader.read_count(41)):
            reader.read(36)
            reader.read_varbytes()
            reader.read(4)
        for _ in range(reader.read_count(9)):
            values.append(int.from_bytes(reader.read(8), "little", signed=True))
            reader.read_varbytes()
        reader.read(4)
        reader.expect_end()
    except InvalidTransactionError:
        return []
    return values


def check_shape(tx: Transaction) -> None:
    """Refuse what is wrong with the transaction whatever the chain holds."""
    if any(_is_null(tx, index) for index in range(len(tx.inputs))) and len(tx.inputs) == 1:
        raise RejectionError("bad-tx-coinbase", INVALID)
    if not tx.inputs:
        raise RejectionError("bad-txns-vin-empty", INVALID)
    if not tx.outputs:
        raise RejectionError("bad-txns-vout-empty", INVALID)
    _check_outputs(tx)
    _check_outpoints(tx)
    if tx.size > MAX_TRANSACTION_BYTES:
        raise RejectionError("tx-size", NONSTANDARD)


def _is_null(tx: Transaction, index: int) -> bool:
    outpoint = tx.inputs[index].outpoint
    return outpoint.vout == _NULL_VOUT and outpoint.txid == NULL_TXID


def _check_outputs(tx: Transaction) -> None:
    if sum(output.satoshis for output in tx.outputs) > MAX_SATOSHIS:
        raise RejectionError("bad-txns-txouttotal-toolarge", INVALID)
    if any(_is_p2sh(output.locking_script) for output in tx.outputs):
        raise RejectionError("bad-txns-vout-p2sh", INVALID)


def _is_p2sh(script: bytes) -> bool:
    return len(script) == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87


def _check_outpoints(tx: Transaction) -> None:
    if any(_is_null(tx, index) for index in range(len(tx.inputs))):
        raise RejectionError("bad-txns-prevout-null", INVALID)
    if len({tx_input.outpoint for tx_input in tx.inputs}) < len(tx.inputs):
        raise RejectionError("bad-txns-inputs-duplicate", INVALID)


def is_final(tx: Transaction, height: int, median_time: int) -> bool:
    """Tell whether a block at `height`, after blocks of `median_time`, may hold it."""
    if tx.locktime == 0 or all(each.sequence == SEQUENCE_FINAL for each in tx.inputs):
        return True
    return tx.locktime < (height if tx.locktime < _LOCKTIME_IS_TIME else median_time)


def minimum_fee(size: int, satoshis_per_kilobyte: int) -> int:
    """Return the least fee in satoshis that the node takes for `size` bytes, rounded down."""
    if satoshis_per_kilobyte == 0:
        return 0
    return max(1, size * satoshis_per_kilobyte // 1000)
