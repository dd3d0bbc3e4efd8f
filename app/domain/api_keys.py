"""The text of an API key, what is kept of it, and what a key may open."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

_PREFIX_BYTES = 6
_SECRET_BYTES = 32
_TEXT = re.compile(rb"pp_([0-9a-f]{12})_[0-9a-f]{64}")


class Scope(StrEnum):
    """What a key opens. No scope includes another."""

    PATCHES_WRITE = "patches:write"
    ADMIN = "admin"
    POS = "pos"
    METRICS = "metrics"


SCOPE_MEANINGS = {
    Scope.PATCHES_WRITE: "register patches and unlock their content",
    Scope.ADMIN: "look at the pool, maintain it, check the invariants",
    Scope.POS: "approve claims at the point of sale",
    Scope.METRICS: "read metrics and the login canary",
}


@dataclass(frozen=True)
class KeyText:
    """A key as its holder sends it: `pp_<prefix>_<secret>`, both in lower-case hex.

    The prefix names the key in lists and logs; the secret has 256 random bits.
    """

    prefix: str
    text: str = field(repr=False)

    @classmethod
    def generate(cls) -> KeyText:
        prefix = secrets.token_hex(_PREFIX_BYTES)
        return cls(prefix, f"pp_{prefix}_{secrets.token_hex(_SECRET_BYTES)}")

    @classmethod
    def parse(cls, given: bytes) -> KeyText | None:
        """Reads what a caller sent; None where it can't be a key."""
        match = _TEXT.fullmatch(given)
        return None if match is None else cls(match[1].decode(), given.decode())

    @property
    def hash_hex(self) -> str:
        """What is stored instead of the text: SHA-256 in hex.

        Slow hashes such as bcrypt protect what people choose. Nobody finds 256 random bits by
        trying, however fast each try is, and this is computed with every request.
        """
        return sha256(self.text.encode()).hexdigest()
