"""The digest that a signature of an input signs: BIP-143's preimage with FORKID, as BSV has it."""

import struct
from functools import cached_property

from app.bitcoin.errors import InvalidTransactionError
from app.bitcoin.hashes import double_sha256
from app.bitcoin.serialization import pack_varbytes
from app.bitcoin.transactions import Transaction

SIGHASH_ALL_FORKID = 0x41
_BASE_MASK, _NONE, _SINGLE, _ANYONE_CAN_PAY = 0x1F, 0x02, 0x03, 0x80
_NO_HASH = bytes(32)


class SighashHasher:
    """Hashes the inputs of one transaction; what they share is hashed once, not once each."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    @cached_property
    def _outpoints_hash(self) -> bytes:
        inputs = self._transaction.inputs
        return double_sha256(b"".join(tx_input.outpoint.to_bytes() for tx_input in inputs))

    @cached_property
    def _sequences_hash(self) -> bytes:
        inputs = self._transaction.inputs
        return double_sha256(b"".join(struct.pack("<I", each.sequence) for each in inputs))

    @cached_property
    def _all_outputs_hash(self) -> bytes:
        return double_sha256(b"".join(each.to_bytes() for each in self._transaction.outputs))

    def _outputs_hash(self, index: int, base: int) -> bytes:
        if base not in (_NONE, _SINGLE):
            return self._all_outputs_hash
        outputs = self._transaction.outputs
        if base == _SINGLE and index < len(outputs):
            return double_sha256(outputs[index].to_bytes())
        return _NO_HASH

    def digest(self, index: int, script_code: bytes, satoshis: int, sighash_type: int) -> bytes:
        """Return the 32 bytes in natural order that the signature of input `index` signs.

        `script_code` and `satoshis` are those of the output spent; all 32 bits of the type count.
        """
        transaction = self._transaction
        if not 0 <= index < len(transaction.inputs):
            raise InvalidTransactionError(f"The transaction has no input {index}.")
        base = sighash_type & _BASE_MASK
        is_alone = bool(sighash_type & _ANYONE_CAN_PAY)
        leaves_sequences = is_alone or base in (_NONE, _SINGLE)
        tx_input = transaction.inputs[index]
        return double_sha256(
            b"".join(
                (
                    struct.pack("<i", transaction.version),
                    _NO_HASH if is_alone else self._outpoints_hash,
                    _NO_HASH if leaves_sequences else self._sequences_hash,
                    tx_input.outpoint.to_bytes(),
                    pack_varbytes(script_code),
                    struct.pack("<qI", satoshis, tx_input.sequence),
                    self._outputs_hash(index, base),
                    struct.pack("<II", transaction.locktime, sighash_type & 0xFFFFFFFF),
                )
            )
        )


def sighashes(transaction: Transaction) -> list[bytes]:
    """Return the ALL|FORKID digest to sign of each input, natural order, in input order."""
    hasher = SighashHasher(transaction)
    digests = []
    for index, tx_input in enumerate(transaction.inputs):
        spent = tx_input.require_spent()
        digests.append(
            hasher.digest(index, spent.locking_script, spent.satoshis, SIGHASH_ALL_FORKID)
        )
    return digests


def sighash(transaction: Transaction, index: int, sighash_type: int = SIGHASH_ALL_FORKID) -> bytes:
    """Return the digest to sign of one input, natural order, for any sighash type with FORKID."""
    if not 0 <= index < len(transaction.inputs):
        raise InvalidTransactionError(f"The transaction has no input {index}.")
    spent = transaction.inputs[index].require_spent()
    hasher = SighashHasher(transaction)
    return hasher.digest(index, spent.locking_script, spent.satoshis, sighash_type)
