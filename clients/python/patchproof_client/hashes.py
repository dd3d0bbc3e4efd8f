"""The hashes of keys and messages."""

from __future__ import annotations

import hashlib
from struct import pack, unpack

_MASK = 0xFFFFFFFF
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
# One row a round of sixteen steps: which word of the block, and how far to rotate.
_LEFT_WORDS = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8),
    (3, 10, 14, 4, 9, 15, 8, 1, 2, 7, 0, 6, 13, 11, 5, 12),
    (1, 9, 11, 10, 0, 8, 12, 4, 13, 3, 7, 15, 14, 5, 6, 2),
    (4, 0, 5, 9, 7, 12, 2, 10, 14, 1, 3, 8, 11, 6, 15, 13),
)
_RIGHT_WORDS = (
    (5, 14, 7, 0, 9, 2, 11, 4, 13, 6, 15, 8, 1, 10, 3, 12),
    (6, 11, 3, 7, 0, 13, 5, 10, 14, 15, 8, 12, 4, 9, 1, 2),
    (15, 5, 1, 3, 7, 14, 6, 9, 11, 8, 12, 2, 10, 0, 4, 13),
    (8, 6, 4, 1, 3, 11, 15, 0, 5, 12, 2, 13, 9, 7, 10, 14),
    (12, 15, 10, 4, 1, 5, 8, 7, 6, 2, 13, 14, 0, 3, 9, 11),
)
_LEFT_SHIFTS = (
    (11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8),
    (7, 6, 8, 13, 11, 9, 7, 15, 7, 12, 15, 9, 11, 7, 13, 12),
    (11, 13, 6, 7, 14, 9, 13, 15, 14, 8, 13, 6, 5, 12, 7, 5),
    (11, 12, 14, 15, 14, 15, 9, 8, 9, 14, 5, 6, 8, 6, 5, 12),
    (9, 15, 5, 11, 6, 8, 13, 12, 5, 12, 13, 14, 11, 8, 5, 6),
)
_RIGHT_SHIFTS = (
    (8, 9, 9, 11, 13, 15, 15, 5, 7, 7, 8, 11, 14, 14, 12, 6),
    (9, 13, 15, 7, 12, 8, 9, 11, 7, 7, 12, 7, 6, 15, 13, 11),
    (9, 7, 15, 11, 8, 6, 6, 14, 12, 13, 5, 14, 13, 13, 7, 5),
    (15, 5, 8, 11, 14, 14, 6, 14, 6, 9, 12, 9, 12, 5, 15, 8),
    (8, 5, 12, 9, 12, 5, 14, 6, 8, 13, 6, 5, 15, 13, 11, 11),
)
_LEFT_CONSTANTS = (0, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E)
_RIGHT_CONSTANTS = (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0)


def sha256(data: bytes) -> bytes:
    """The SHA-256 of `data`, 32 bytes in natural order."""
    return hashlib.sha256(data).digest()


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256 of `data`, 20 bytes: what an address holds of a public key."""
    return ripemd160(sha256(data))


def ripemd160(data: bytes) -> bytes:
    """The RIPEMD-160 of `data` (ISO/IEC 10118-3), 20 bytes.

    Written out here because hashlib lacks it where OpenSSL runs without its legacy provider.
    """
    state = _START
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + pack("<Q", len(data) * 8)
    for start in range(0, len(padded), 64):
        block = unpack("<16I", padded[start : start + 64])
        left = _line(state, block, _LEFT_WORDS, _LEFT_SHIFTS, _LEFT_CONSTANTS, range(5))
        right = _line(state, block, _RIGHT_WORDS, _RIGHT_SHIFTS, _RIGHT_CONSTANTS, range(4, -1, -1))
        state = tuple(  # type: ignore[assignment]  # five again
            (state[(n + 1) % 5] + left[(n + 2) % 5] + right[(n + 3) % 5]) & _MASK for n in range(5)
        )
    return pack("<5I", *state)


def _line(
    state: tuple[int, ...],
    block: tuple[int, ...],
    words: tuple[tuple[int, ...], ...],
    shifts: tuple[tuple[int, ...], ...],
    constants: tuple[int, ...],
    mixers: range,
) -> tuple[int, ...]:
    """One of the two lines of eighty steps; both start from the same state."""
    a, b, c, d, e = state
    for turn, mixer in enumerate(mixers):
        for word, shift in zip(words[turn], shifts[turn], strict=True):
            total = a + _mix(mixer, b, c, d) + block[word] + constants[turn]
            a, b, c, d, e = e, (_rotate(total & _MASK, shift) + e) & _MASK, b, _rotate(c, 10), d
    return a, b, c, d, e


def _mix(mixer: int, x: int, y: int, z: int) -> int:
    match mixer:
        case 0:
            return x ^ y ^ z
        case 1:
            return (x & y) | (~x & z & _MASK)
        case 2:
            return (x | (~y & _MASK)) ^ z
        case 3:
            return (x & z) | (y & ~z & _MASK)
        case _:
            return x ^ (y | (~z & _MASK))


def _rotate(value: int, count: int) -> int:
    return ((value << count) | (value >> (32 - count))) & _MASK
