"""The client's side of a login by key: a key of its own for each challenge."""

from __future__ import annotations

from patchproof_client.hashes import sha256
from patchproof_client.keys import OwnerKey


class UnusableChallengeError(ValueError):
    """The challenge leads to no one-time key, which happens once in 2**256: ask for another."""


def one_time_key(master_key: OwnerKey, challenge: bytes) -> OwnerKey:
    """The key for one login: p2c = (pmc + h) mod n, where h is SHA-256 of the challenge.

    Raises:
        UnusableChallengeError: p2c would be 0.
    """
    h = int.from_bytes(sha256(challenge), "big")
    try:
        return master_key.shifted(h)
    except ValueError:
        raise UnusableChallengeError("this challenge can't be used with this key") from None


def sign_challenge(master_key: OwnerKey, challenge: bytes) -> str:
    """Answers a challenge M: a signature by the one-time key over SHA-256 of M, DER in hex.

    The digest is what is signed; it is not hashed again.
    """
    return one_time_key(master_key, challenge).sign_digest(sha256(challenge)).hex()
