"""The server's half of a login: the shared secret of http-api section 4."""

import hashlib

from app.bitcoin.errors import InvalidPrivateKeyError, InvalidPublicKeyError
from app.bitcoin.keys import N, PrivateKey, PublicKey
from app.domain.svd import derive_key
from signer.errors import RequestRefusedError

CONTEXT = b"SVD-Session"


def derive_shared_secret(
    master_key: PrivateKey, client_master_key: PublicKey, challenge: bytes
) -> bytes:
    """Return the 32-byte secret that server and client share for one challenge.

    `challenge` is M, 24 bytes. Raises RequestRefusedError when the challenge's hash leads to
    the point at infinity or to a zero key, which no honest client meets.
    """
    tweak = int.from_bytes(hashlib.sha256(challenge).digest(), "big")
    x = shared_x(master_key, client_master_key, tweak)
    salt = hashlib.sha256(
        master_key.public_key.to_bytes() + client_master_key.to_bytes() + challenge
    ).digest()
    return derive_key(salt, x, CONTEXT)


def shared_x(master_key: PrivateKey, client_master_key: PublicKey, tweak: int) -> bytes:
    """Return the x-coordinate of (pms + tweak) * (PMC + tweak*G), big-endian, shortest form.

    Leading zero bytes are dropped: the other side of the wire has always done so.
    """
    scalar = (tweak % N).to_bytes(32, "big")
    try:
        one_time_public_key = client_master_key.add(scalar)
        one_time_private_key = master_key.add(scalar)
    except (InvalidPublicKeyError, InvalidPrivateKeyError):
        raise RequestRefusedError("This challenge cannot be used with this key.") from None
    return one_time_private_key.multiply(one_time_public_key).to_bytes()[1:].lstrip(b"\0")
