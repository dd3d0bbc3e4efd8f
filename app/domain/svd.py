"""The mathematics of a login by key: http-api section 4, from the server's side.

M is the challenge, m its SHA-256, h the number that m is. The user's master key is pmc, its public
half PMC. For each challenge both sides move to a key of its own, pmc + h and PMC + h*G, so that a
login shows nothing that another one could use.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import UTC, datetime

from app.bitcoin.curve import N
from app.bitcoin.errors import InvalidPublicKeyError
from app.bitcoin.hashes import sha256
from app.bitcoin.keys import PublicKey

CHALLENGE_BYTES = 24
_TIME_BYTES = 8
_PROOF_CONTEXT = b"JWT-Token"


class UnusableChallengeError(ValueError):
    """A challenge leads to no one-time key: h is 0 modulo n, or the sum is at infinity."""


def make_challenge(now: datetime) -> bytes:
    """Return a fresh M: Unix seconds in 8 bytes, big-endian, and 16 random bytes."""
    random = secrets.token_bytes(CHALLENGE_BYTES - _TIME_BYTES)
    return int(now.timestamp()).to_bytes(_TIME_BYTES, "big") + random


def challenge_time(challenge: bytes) -> datetime | None:
    """Return when M says that it was made; None for a time beyond the year 9999."""
    try:
        return datetime.fromtimestamp(int.from_bytes(challenge[:_TIME_BYTES], "big"), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def challenge_digest(challenge: bytes) -> bytes:
    """Return m, the 32 bytes that the client signs; they are not hashed again."""
    return sha256(challenge)


def tweak(digest: bytes) -> bytes:
    """Return h modulo n, 32 bytes big-endian: what both sides add to their master keys."""
    return (int.from_bytes(digest, "big") % N).to_bytes(32, "big")


def one_time_key(master_key: PublicKey, digest: bytes) -> PublicKey:
    """Return V2C, the key that a login with this m is verified with.

    Raises UnusableChallengeError for the one h in 2**256 that has none.
    """
    try:
        return master_key.add(tweak(digest))
    except InvalidPublicKeyError:
        raise UnusableChallengeError("This challenge cannot be used with this key.") from None


def login_proof(user_id: str, digest: bytes, shared_secret: bytes) -> str:
    """Return svd_proof in hex, what a token shows of the secret that both sides share.

    `user_id` as the client spells it, ASCII.
    """
    salt = sha256(user_id.encode("ascii") + digest)
    return derive_key(salt, shared_secret, _PROOF_CONTEXT).hex()


def derive_key(salt: bytes, material: bytes, context: bytes) -> bytes:
    """Return 32 bytes: extract and one block of expand, without the counter byte of RFC 5869.

    The counter is missing in every client there is, so RFC 5869 gives another value.
    """
    return _hmac(_hmac(salt, material), context)


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
