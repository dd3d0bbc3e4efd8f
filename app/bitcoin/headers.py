"""Block headers: 80 bytes, their hash and the work that it proves."""

import struct
from dataclasses import dataclass
from functools import cached_property

from app.bitcoin.addresses import Network
from app.bitcoin.errors import InvalidHeaderError
from app.bitcoin.hashes import double_sha256, hash_from_txid, is_txid, txid_from_hash
from app.bitcoin.serialization import bytes_from_hex

HEADER_SIZE = 80
_LAYOUT = struct.Struct("<i32s32sIII")
_TARGET_LIMIT = 1 << 256

POW_LIMIT_BITS = {
    Network.MAIN: 0x1D00FFFF,
    Network.TEST: 0x1D00FFFF,
    Network.REGTEST: 0x207FFFFF,
}
# On main no block of the last years was easier than a difficulty of 2**32. A header of the
# consensus limit costs seconds to make, one of this costs days of a large machine.
EASIEST_BITS = {**POW_LIMIT_BITS, Network.MAIN: 0x1900FFFF}


def target_of(bits: int) -> int:
    """Return the highest hash value that compact `bits` allow, 0 where they allow none.

    Negative and overflowing encodings allow none, as in a node's SetCompact.
    """
    size, word = bits >> 24, bits & 0x007FFFFF
    if bits & 0x00800000:
        return 0
    target = word >> (8 * (3 - size)) if size <= 3 else word << (8 * (size - 3))
    return target if target < _TARGET_LIMIT else 0


def work(bits: int) -> int:
    """Return the expected number of hashes behind a header with these bits, 0 for no target."""
    target = target_of(bits)
    return _TARGET_LIMIT // (target + 1) if target else 0


@dataclass(frozen=True)
class BlockHeader:
    """A block's header; hashes are display-order hex, `timestamp` is Unix seconds."""

    version: int
    previous_block_hash: str
    merkle_root: str
    timestamp: int
    bits: int
    nonce: int

    def __post_init__(self) -> None:
        if not (is_txid(self.previous_block_hash) and is_txid(self.merkle_root)):
            raise InvalidHeaderError("A hash in a block header is 64 lower-case hex characters.")

    @classmethod
    def from_bytes(cls, raw: bytes) -> "BlockHeader":
        """Read exactly 80 bytes."""
        if len(raw) != HEADER_SIZE:
            raise InvalidHeaderError("A block header is 80 bytes long.")
        version, previous, root, timestamp, bits, nonce = _LAYOUT.unpack(raw)
        return cls(version, txid_from_hash(previous), txid_from_hash(root), timestamp, bits, nonce)

    @classmethod
    def from_hex(cls, text: str) -> "BlockHeader":
        """Read 160 hex characters."""
        return cls.from_bytes(bytes_from_hex(text, InvalidHeaderError, "The block header"))

    def to_bytes(self) -> bytes:
        """Return the 80 bytes."""
        previous, root = hash_from_txid(self.previous_block_hash), hash_from_txid(self.merkle_root)
        try:
            return _LAYOUT.pack(self.version, previous, root, self.timestamp, self.bits, self.nonce)
        except struct.error:
            raise InvalidHeaderError("A number of the block header is out of range.") from None

    def to_hex(self) -> str:
        """Return 160 lower-case hex characters."""
        return self.to_bytes().hex()

    @cached_property
    def block_hash(self) -> str:
        """Display-order hex of the double SHA-256 of the header."""
        return txid_from_hash(double_sha256(self.to_bytes()))

    @property
    def target(self) -> int:
        """The highest hash value that the header's bits allow, 0 where they allow none."""
        return target_of(self.bits)

    def has_proof_of_work(self, pow_limit_bits: int) -> bool:
        """Tell whether the hash meets the target and the target is no easier than the limit."""
        is_hard_enough = 0 < self.target <= target_of(pow_limit_bits)
        return is_hard_enough and int(self.block_hash, 16) <= self.target


GENESIS_REGTEST = BlockHeader(
    version=1,
    previous_block_hash="00" * 32,
    merkle_root="4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
    timestamp=1296688602,
    bits=0x207FFFFF,
    nonce=2,
)
