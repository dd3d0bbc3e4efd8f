"""Canonical JSON (RFC 8785): one value has one spelling, so that hashes agree."""

from typing import Any

import rfc8785

from app.bitcoin.hashes import sha256


class NotCanonicalError(ValueError):
    """A value has no canonical JSON: lone surrogates, NaN, integers beyond 2**53, other types."""


def canonical_json(value: Any) -> bytes:
    """Return the RFC 8785 form of a JSON value in UTF-8.

    Raises NotCanonicalError for a value that JSON, or a double, can't carry.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError) as error:
        raise NotCanonicalError(f"The value has no canonical JSON: {error}.") from error


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` in lower-case hex."""
    return sha256(data).hex()
