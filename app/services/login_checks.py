"""What a login and a change of keys check alike: the signature, and that there is a key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.bitcoin.errors import InvalidSignatureError
from app.bitcoin.keys import PrivateKey, PublicKey
from app.bitcoin.signatures import parse_signature_der
from app.errors import (
    ChallengeExpiredError,
    ChallengeReplayedError,
    LoginSignatureError,
    MalleableSignatureError,
    NoLoginKeyError,
    WrongChallengeError,
)

# Stands in for the key of users who have none, so that checking costs as much. Its private half is
# gone.
NOBODYS_KEY_HEX = PrivateKey.generate().public_key.to_hex()

_REFUSALS = (
    ChallengeExpiredError,
    ChallengeReplayedError,
    WrongChallengeError,
    LoginSignatureError,
)


def check_signature(key: PublicKey, signature_der_hex: str, digest: bytes) -> None:
    """Returns when the key has signed these 32 bytes, in strict DER with low S.

    Raises:
        MalleableSignatureError: S is high: somebody else may have made it from a good one.
        LoginSignatureError: it is no signature, or not this one.
    """
    try:
        signature = parse_signature_der(signature_der_hex)
    except InvalidSignatureError as error:
        refusal = MalleableSignatureError if error.reason == "high_s" else LoginSignatureError
        raise refusal(str(error)) from None
    if not key.verify(signature, digest):
        raise LoginSignatureError("the signature does not verify with the user's key")


@contextmanager
def for_users_with_a_key(*, has_key: bool) -> Iterator[None]:
    """Lets the body do its work for a user without a key as well; refuses such a user at its end.

    Raises:
        NoLoginKeyError: whatever else was found wrong.
    """
    try:
        yield
    except _REFUSALS:
        if has_key:
            raise
    if not has_key:
        raise NoLoginKeyError("this user has no key to log in with; register one")
