"""Transactions as immutable values, read and written in the plain and the extended format."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from app.bitcoin.errors import InvalidTransactionError
from app.bitcoin.hashes import double_sha256, hash_from_txid, is_txid, txid_from_hash
from app.bitcoin.scripts import P2PKH_UNLOCKING_SIZE, find_p2pkh_hash160
from app.bitcoin.serialization import ByteReader, bytes_from_hex, pack_varbytes, pack_varint

MAX_SATOSHIS = 21_000_000 * 100_000_000
SEQUENCE_FINAL = 0xFFFFFFFF
_UINT32_MAX = 0xFFFFFFFF
_EXTENDED_MARKER = bytes.fromhex("0000000000ef")
_OUTPOINT = re.compile(r"([0-9a-f]{64}):(0|[1-9][0-9]{0,9})")
_MINIMAL_INPUT_SIZE, _MINIMAL_OUTPUT_SIZE = 41, 9


@dataclass(frozen=True, order=True)
class Outpoint:
    """One output of one transaction, by display-order txid and index."""

    txid: str
    vout: int

    def __post_init__(self) -> None:
        if not is_txid(self.txid):
            raise InvalidTransactionError("A txid is 64 lower-case hex characters.")
        if not 0 <= self.vout <= _UINT32_MAX:
            raise InvalidTransactionError("An output index is a number of 32 bits.")

    @classmethod
    def from_text(cls, text: str) -> "Outpoint":
        """Read `txid:vout`."""
        match = _OUTPOINT.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidTransactionError("An outpoint is written txid:index.")
        return cls(match[1], int(match[2]))

    def to_bytes(self) -> bytes:
        """Return 36 bytes: the hash in internal order and the index, little-endian."""
        return hash_from_txid(self.txid) + struct.pack("<I", self.vout)

    def __str__(self) -> str:
        return f"{self.txid}:{self.vout}"


@dataclass(frozen=True)
class TxOutput:
    """An amount and the script that locks it."""

    satoshis: int
    locking_script: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.satoshis <= MAX_SATOSHIS:
            raise InvalidTransactionError("An output's satoshis are out of range.")

    def to_bytes(self) -> bytes:
        """Return the wire format."""
        return struct.pack("<q", self.satoshis) + pack_varbytes(self.locking_script)

    @classmethod
    def read(cls, reader: ByteReader) -> "TxOutput":
        """Read one output from a stream."""
        return cls(reader.read_uint(8), reader.read_varbytes())


@dataclass(frozen=True)
class TxInput:
    """The spending of an outpoint; `spent` is the output itself where it is known."""

    outpoint: Outpoint
    spent: TxOutput | None = None
    unlocking_script: bytes = b""
    sequence: int = SEQUENCE_FINAL

    def to_bytes(self) -> bytes:
        """Return the wire format."""
        return (
            self.outpoint.to_bytes()
            + pack_varbytes(self.unlocking_script)
            + struct.pack("<I", self.sequence)
        )

    def to_extended_bytes(self) -> bytes:
        """Return the wire format followed by the output spent (BRC-30)."""
        return self.to_bytes() + self.require_spent().to_bytes()

    def require_spent(self) -> TxOutput:
        """Return the output spent; InvalidTransactionError where it is not known."""
        if self.spent is None:
            raise InvalidTransactionError(f"The output {self.outpoint} to spend is not known.")
        return self.spent

    @classmethod
    def read(cls, reader: ByteReader, is_extended: bool = False) -> "TxInput":
        """Read one input from a stream, with the output spent when extended."""
        outpoint = Outpoint(txid_from_hash(reader.read(32)), reader.read_uint(4))
        unlocking_script, sequence = reader.read_varbytes(), reader.read_uint(4)
        spent = TxOutput.read(reader) if is_extended else None
        return cls(outpoint, spent, unlocking_script, sequence)


@dataclass(frozen=True)
class Transaction:
    """Inputs and outputs; never changed, only replaced."""

    inputs: tuple[TxInput, ...]
    outputs: tuple[TxOutput, ...]
    version: int = 1
    locktime: int = 0

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Transaction":
        """Read the plain or the extended (BRC-30) format, with nothing left over."""
        reader = ByteReader(raw, InvalidTransactionError, "The transaction")
        version = reader.read_int32()
        is_extended = reader.peek(6) == _EXTENDED_MARKER
        if is_extended:
            reader.read(6)
        inputs = tuple(
            TxInput.read(reader, is_extended) for _ in range(reader.read_count(_MINIMAL_INPUT_SIZE))
        )
        outputs = tuple(
            TxOutput.read(reader) for _ in range(reader.read_count(_MINIMAL_OUTPUT_SIZE))
        )
        locktime = reader.read_uint(4)
        reader.expect_end()
        return cls(inputs, outputs, version, locktime)

    @classmethod
    def from_hex(cls, text: str) -> "Transaction":
        """Read hex of the plain or the extended format."""
        return cls.from_bytes(bytes_from_hex(text, InvalidTransactionError, "The transaction"))

    def to_bytes(self) -> bytes:
        """Return the plain format, which the txid is the hash of."""
        return self._pack(b"", [tx_input.to_bytes() for tx_input in self.inputs])

    def to_hex(self) -> str:
        """Return the plain format in hex."""
        return self.to_bytes().hex()

    def to_extended_hex(self) -> str:
        """Return the extended format (BRC-30) in hex; every spent output must be known."""
        inputs = [tx_input.to_extended_bytes() for tx_input in self.inputs]
        return self._pack(_EXTENDED_MARKER, inputs).hex()

    def _pack(self, marker: bytes, inputs: list[bytes]) -> bytes:
        outputs = [output.to_bytes() for output in self.outputs]
        return b"".join(
            (
                struct.pack("<i", self.version),
                marker,
                pack_varint(len(inputs)),
                *inputs,
                pack_varint(len(outputs)),
                *outputs,
                struct.pack("<I", self.locktime),
            )
        )

    @cached_property
    def txid(self) -> str:
        """Display-order hex of the double SHA-256 of the plain format."""
        return txid_from_hash(double_sha256(self.to_bytes()))

    @cached_property
    def size(self) -> int:
        """Bytes of the plain format."""
        return len(self.to_bytes())

    @property
    def fee_satoshis(self) -> int:
        """What the inputs hold above the outputs; every spent output must be known."""
        spent = sum(tx_input.require_spent().satoshis for tx_input in self.inputs)
        return spent - sum(output.satoshis for output in self.outputs)

    def with_unlocking_scripts(self, unlocking_scripts: Sequence[bytes]) -> "Transaction":
        """Return the transaction with one unlocking script an input, in order."""
        if len(unlocking_scripts) != len(self.inputs):
            raise InvalidTransactionError("Each input needs exactly one unlocking script.")
        inputs = tuple(
            replace(tx_input, unlocking_script=script)
            for tx_input, script in zip(self.inputs, unlocking_scripts, strict=True)
        )
        return replace(self, inputs=inputs)

    def with_spent_outputs(self, spent: Sequence[TxOutput]) -> "Transaction":
        """Return the transaction with the output that each input spends, in order."""
        if len(spent) != len(self.inputs):
            raise InvalidTransactionError("Each input spends exactly one output.")
        inputs = tuple(
            replace(tx_input, spent=output)
            for tx_input, output in zip(self.inputs, spent, strict=True)
        )
        return replace(self, inputs=inputs)


def signed_size(transaction: Transaction) -> int:
    """Return the largest size in bytes once every P2PKH input is signed.

    An input whose spent output is unknown counts as P2PKH; one of another kind as it is.
    """
    size = transaction.size
    for tx_input in transaction.inputs:
        if tx_input.spent is None or find_p2pkh_hash160(tx_input.spent.locking_script):
            size += P2PKH_UNLOCKING_SIZE + 1 - len(pack_varbytes(tx_input.unlocking_script))
    return size
