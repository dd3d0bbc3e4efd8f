"""Base58Check: the text form of addresses and of exported keys."""

from __future__ import annotations

from patchproof_client.hashes import sha256

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_CHECKSUM_BYTES = 4
# Decoding costs the square of the length; no format of ours is longer than a WIF's 52.
_MAX_LENGTH = 64


def encode_check(payload: bytes) -> str:
    """Base58 of a payload, version byte first, and its checksum."""
    raw = payload + _checksum(payload)
    number = int.from_bytes(raw, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    zeros = len(raw) - len(raw.lstrip(b"\0"))
    return _ALPHABET[0] * zeros + "".join(reversed(digits))


def find_payload(text: str) -> bytes | None:
    """The payload, version byte first, of a text with a right checksum, else None."""
    if not 0 < len(text) <= _MAX_LENGTH or not set(text) <= set(_ALPHABET):
        return None
    number = 0
    for character in text:
        number = number * 58 + _ALPHABET.index(character)
    zeros = len(text) - len(text.lstrip(_ALPHABET[0]))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    payload, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    return payload if payload and _checksum(payload) == checksum else None


def _checksum(payload: bytes) -> bytes:
    return sha256(sha256(payload))[:_CHECKSUM_BYTES]
