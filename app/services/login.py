"""Logs in whoever signs a challenge with the key that is registered for a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app import extensions
from app.bitcoin.keys import PublicKey
from app.clients.kms import DerivedSecret
from app.clients.outcomes import ClientError
from app.domain import svd
from app.errors import (
    ChallengeExpiredError,
    ChallengeReplayedError,
    LoginKeyRevokedError,
    LoginSignatureError,
    MalleableSignatureError,
    NoLoginKeyError,
    PatchProofError,
    SignerUnavailableError,
    WrongChallengeError,
)
from app.models.svd_key import LoginKey, SvdKey
from app.services import challenges, login_metrics, signer_kid, tokens
from app.services.challenges import Challenge, Purpose
from app.services.login_checks import NOBODYS_KEY_HEX, check_signature, for_users_with_a_key
from app.services.login_metrics import Event

_RETRY_SECONDS = 5
# The first that fits counts.
_EVENTS: tuple[tuple[type[PatchProofError], Event], ...] = (
    (ChallengeReplayedError, Event.REPLAYED),
    (ChallengeExpiredError, Event.EXPIRED),
    (MalleableSignatureError, Event.MALLEABLE_REJECT),
    (LoginSignatureError, Event.INVALID),
    (WrongChallengeError, Event.INVALID),
    (NoLoginKeyError, Event.INVALID),
    (LoginKeyRevokedError, Event.INVALID),
)


def begin(user_id: str) -> str:
    """Makes a challenge, M in lower-case hex, for a user of whom nothing is looked up.

    Raises:
        UnavailableError: Redis is away.
    """
    challenge = challenges.create(Purpose.LOGIN, user_id)
    login_metrics.count(Event.BEGIN, signer_kid.known())
    return challenge.value.hex()


def complete(user_id: str, challenge_hex: str, signature_der_hex: str) -> str:
    """Answers a token for a signed challenge; `user_id` as the client spells it.

    Whatever fails before the signature and the signer are satisfied leaves the challenge as good
    as it was, but for a count of wrong signatures.

    Raises:
        NoLoginKeyError: the user has no key; after the same work as for one who has.
        ChallengeReplayedError, ChallengeExpiredError, WrongChallengeError: of the challenge.
        LoginSignatureError: the key has not signed it.
        LoginKeyRevokedError: the key has, and no longer logs in.
        SignerUnavailableError: the signer does not answer in time; try the same again.
        UnavailableError: Redis is away.
    """
    challenge = Challenge(Purpose.LOGIN, user_id.lower(), bytes.fromhex(challenge_hex))
    with _counting_refusals():
        key = _check_answer(challenge, signature_der_hex)
        derived = derive(challenge, key)
        kid = signer_kid.note(derived.kid)
        tally = login_metrics.tally(Event.COMPLETE, kid, challenge.age_seconds)
        challenges.consume(challenge, tally)
    return tokens.issue_svd(
        user_id,
        challenge_sha256=challenge.digest.hex(),
        proof=svd.login_proof(user_id, challenge.digest, derived.secret),
        kid=kid,
    )


def _check_answer(challenge: Challenge, signature_der_hex: str) -> PublicKey:
    """Answers the master key that the challenge was signed with."""
    found = SvdKey.find_login_key(challenge.user_id)
    standing = found or LoginKey(NOBODYS_KEY_HEX, is_revoked=False)
    key = PublicKey.from_hex(standing.public_key_hex)
    with for_users_with_a_key(has_key=found is not None), challenges.answering(challenge):
        check_signed_challenge(key, challenge.digest, signature_der_hex)
    if standing.is_revoked:
        raise LoginKeyRevokedError("this key has been revoked")
    return key


def check_signed_challenge(key: PublicKey, digest: bytes, signature_der_hex: str) -> None:
    """Returns when the owner of a master key has signed a challenge's digest for this login.

    Raises:
        LoginSignatureError: somebody else did, or nobody could.
    """
    try:
        one_time_key = svd.one_time_key(key, digest)
    except svd.UnusableChallengeError as error:
        raise LoginSignatureError(str(error)) from None
    check_signature(one_time_key, signature_der_hex, digest)


def derive(challenge: Challenge, key: PublicKey) -> DerivedSecret:
    """Has the signer derive the secret that it shares with the owner of a master key.

    Raises:
        SignerUnavailableError: it did not, within SVD_KMS_BUDGET_MS.
    """
    current = extensions.get()
    budget_seconds = current.settings.svd_kms_budget_ms / 1000
    try:
        return current.kms.derive(challenge.value, key, budget_seconds=budget_seconds)
    except ClientError as error:
        raise SignerUnavailableError(
            "the signer does not answer; the same request may work in a moment",
            retry_after_seconds=_RETRY_SECONDS,
        ) from error


@contextmanager
def _counting_refusals() -> Iterator[None]:
    try:
        yield
    except PatchProofError as error:
        for kind, event in _EVENTS:
            if isinstance(error, kind):
                login_metrics.count(event, signer_kid.known())
                break
        raise
