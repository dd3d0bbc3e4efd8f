"""Reading and writing of the byte streams that all Bitcoin formats share."""

import struct

from app.bitcoin.errors import BitcoinFormatError


def bytes_from_hex(text: str, error: type[BitcoinFormatError], what: str) -> bytes:
    """Return the bytes of hex in either case; anything else, blanks too, raises `error`."""
    try:
        raw = bytes.fromhex(text)
    except (TypeError, ValueError):
        raise error(f"{what} is not hexadecimal.") from None
    # bytes.fromhex skips blanks, which would give one value many spellings.
    if len(raw) * 2 != len(text):
        raise error(f"{what} is not hexadecimal.")
    return raw


def pack_varint(number: int) -> bytes:
    """Return the CompactSize encoding of a number up to 64 bits."""
    if number < 0xFD:
        return struct.pack("<B", number)
    if number <= 0xFFFF:
        return b"\xfd" + struct.pack("<H", number)
    if number <= 0xFFFFFFFF:
        return b"\xfe" + struct.pack("<I", number)
    return b"\xff" + struct.pack("<Q", number)


def pack_varbytes(data: bytes) -> bytes:
    """Return `data` with its length before it."""
    return pack_varint(len(data)) + data


class ByteReader:
    """Reads a byte string from front to back and raises the given error where it ends early."""

    def __init__(self, raw: bytes, error: type[BitcoinFormatError], what: str) -> None:
        self._raw = bytes(raw)
        self._position = 0
        self._error = error
        self._what = what

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._raw) - self._position

    def peek(self, size: int) -> bytes:
        """Return up to `size` bytes without moving on."""
        return self._raw[self._position : self._position + size]

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        if size > self.remaining:
            raise self._error(f"{self._what} ends too early.")
        self._position += size
        return self._raw[self._position - size : self._position]

    def read_uint(self, size: int) -> int:
        """Return an unsigned little-endian integer of `size` bytes."""
        return int.from_bytes(self.read(size), "little")

    def read_int32(self) -> int:
        """Return a signed little-endian 32-bit integer."""
        return int.from_bytes(self.read(4), "little", signed=True)

    def read_varint(self) -> int:
        """Return a CompactSize number; an encoding longer than needed is refused, as nodes do."""
        first = self.read_uint(1)
        if first < 0xFD:
            return first
        size = 1 << (first - 0xFC)
        number = self.read_uint(size)
        if number < 0xFD or (size > 2 and number < 1 << (size * 4)):
            raise self._error(f"{self._what} holds a number that is not encoded minimally.")
        return number

    def read_count(self, minimal_item_size: int) -> int:
        """Return a count of items, refused when the rest could not hold that many."""
        count = self.read_varint()
        if count * minimal_item_size > self.remaining:
            raise self._error(f"{self._what} ends too early.")
        return count

    def read_varbytes(self) -> bytes:
        """Return bytes that follow their own length."""
        return self.read(self.read_varint())

    def expect_end(self) -> None:
        """Refuse bytes left over."""
        if self.remaining:
            raise self._error(f"{self._what} has {self.remaining} bytes too many.")
