"""Codes that are mailed: how one is made, and what is kept of it."""

import hmac
import secrets

import bcrypt

_LOWEST = 100_000
_HIGHEST = 999_998
_PURPOSE = b"patchproof-mailed-code"


def make_code() -> str:
    """Return six digits, each value as likely as any other."""
    return str(_LOWEST + secrets.randbelow(_HIGHEST - _LOWEST + 1))


def hash_code(code: str, identifier: str, *, key: bytes, cost: int) -> str:
    """Return a bcrypt hash that is good for this address only.

    Six digits are soon tried out, so what bcrypt gets depends on `key` as well: the database alone
    does not give a code away. `cost` is bcrypt's, 4 to 31; each step doubles the time.
    """
    return bcrypt.hashpw(_keyed(code, identifier, key), bcrypt.gensalt(cost)).decode()


def is_code(code: str, identifier: str, code_hash: str, *, key: bytes) -> bool:
    """Tell whether the hash was made of this code, for this address, with this key."""
    return bcrypt.checkpw(_keyed(code, identifier, key), code_hash.encode())


def _keyed(code: str, identifier: str, key: bytes) -> bytes:
    # In hex: bcrypt takes 72 bytes at most, and stops at a zero byte.
    message = b"\0".join((_PURPOSE, identifier.encode(), code.encode()))
    return hmac.new(key, message, "sha256").hexdigest().encode()
