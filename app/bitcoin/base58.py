"""Base58Check: the text form of addresses and of exported keys."""

import re

import bitcoinx

from app.bitcoin.hashes import double_sha256

# Decoding costs the square of the length; no format of ours is longer than a WIF's 52.
_TEXT = re.compile(r"[1-9A-HJ-NP-Za-km-z]{1,64}")


def is_base58(text: object) -> bool:
    """Tell whether `text` is a string of base58 characters, at most 64."""
    return isinstance(text, str) and _TEXT.fullmatch(text) is not None


def encode_check(payload: bytes) -> str:
    """Return base58 of the payload, version byte first, and its 4-byte checksum."""
    return str(bitcoinx.base58_encode_check(payload))


def find_payload(text: str) -> bytes | None:
    """Return the payload, version byte first, of a text with a right checksum, else None."""
    raw = bytes(bitcoinx.base58_decode(text))
    payload, checksum = raw[:-4], raw[-4:]
    return payload if double_sha256(payload)[:4] == checksum else None
