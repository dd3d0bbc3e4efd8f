"""The hashes of Bitcoin and the two ways to write one."""

import hashlib
import re

import bitcoinx

from app.bitcoin.errors import BitcoinFormatError

_TXID = re.compile(r"[0-9a-f]{64}")


def sha256(data: bytes) -> bytes:
    """Return the SHA-256 of `data`, 32 bytes in natural order."""
    return hashlib.sha256(data).digest()


def double_sha256(data: bytes) -> bytes:
    """Return SHA-256 of SHA-256 of `data`, 32 bytes in natural (internal) order."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def hash160(data: bytes) -> bytes:
    """Return RIPEMD-160 of SHA-256 of `data`, 20 bytes."""
    # hashlib lacks RIPEMD-160 where OpenSSL 3 runs without its legacy provider.
    return bytes(bitcoinx.hash160(data))


def is_txid(text: object) -> bool:
    """Tell whether `text` is 64 lower-case hex characters."""
    return isinstance(text, str) and _TXID.fullmatch(text) is not None


def txid_from_hash(tx_hash: bytes) -> str:
    """Return the display form (reversed hex) of a 32-byte hash in internal order."""
    if len(tx_hash) != 32:
        raise BitcoinFormatError("A transaction hash is 32 bytes long.")
    return tx_hash[::-1].hex()


def hash_from_txid(txid: str) -> bytes:
    """Return the 32 bytes in internal order of a display-order hex hash."""
    if not is_txid(txid):
        raise BitcoinFormatError("A txid is 64 lower-case hex characters.")
    return bytes.fromhex(txid)[::-1]
