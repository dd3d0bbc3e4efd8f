"""The keys that users log in with: the first one stays until its holder or an operator says so."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from app import extensions
from app.bitcoin.errors import InvalidPublicKeyError
from app.bitcoin.keys import PublicKey
from app.domain.clock import utc_now
from app.domain.messages import digest, key_registration_message, key_rotation_message
from app.errors import (
    DuplicateLoginKeyError,
    FieldError,
    InvalidInputError,
    InvalidLoginKeyError,
    LoginKeyChangedError,
    LoginKeyRevokedError,
    NotFoundError,
)
from app.models.erasure import Erasure
from app.models.svd_key import DuplicateSvdKeyError, SvdKey
from app.services import challenges, subjects
from app.services.challenges import Challenge, Purpose
from app.services.login_checks import NOBODYS_KEY_HEX, check_signature, for_users_with_a_key

logger = logging.getLogger(__name__)

# Where a user's own changes end, so that nobody grows a document without end.
MAX_ROTATIONS = 100
BY_USER = "user"


@dataclass(frozen=True)
class KeyNonce:
    """What a signature that registers or replaces a key is bound to, and until when it is good."""

    nonce: str
    expires_at: datetime


@dataclass(frozen=True)
class KeyProof:
    """A signature over the message that names the user, the key and this nonce, as sent."""

    nonce: str
    signature_der_hex: str


def create_nonce(user_id: str) -> KeyNonce:
    """Makes a nonce for one change of a user's key, whether or not there is one.

    Raises:
        UnavailableError: Redis is away.
    """
    expires_at = utc_now() + timedelta(seconds=challenges.life_seconds())
    return KeyNonce(challenges.create(Purpose.KEY, user_id).value.hex(), expires_at)


def register(user_id: str, public_key_hex: str, proof: KeyProof | None) -> None:
    """Gives a user the first key. All texts as the client has sent and signed them.

    Raises:
        InvalidLoginKeyError: it is no compressed point of the curve.
        InvalidInputError: there is no proof, and this service wants one.
        ChallengeReplayedError, ChallengeExpiredError, WrongChallengeError: of the nonce.
        LoginSignatureError: the key did not sign this.
        DuplicateLoginKeyError: the user has a key already, be it the same, or another user has it;
            or the user was erased, and the operator has not freed the id.
        UnavailableError: Redis is away, and there is a proof to check.
    """
    key = _parse_key("pmcHex", public_key_hex)
    if proof is not None:
        message = key_registration_message(user_id, public_key_hex, proof.nonce)
        nonce = _challenge(user_id, proof.nonce)
        with challenges.answering(nonce):
            check_signature(key, proof.signature_der_hex, digest(message))
        challenges.consume(nonce)
    elif extensions.get().settings.is_register_proof_needed:
        raise _proof_needed()
    is_proven = proof is not None
    _store(SvdKey(user_id=user_id.lower(), public_key_hex=key.to_hex(), is_proven=is_proven))
    _log("registered", user_id, BY_USER)


def rotate(
    user_id: str,
    new_public_key_hex: str,
    *,
    nonce: str,
    signature_der_hex: str,
    new_signature_der_hex: str,
) -> None:
    """Replaces a user's key by a new one, by a message that both have signed. All texts as sent.

    Raises:
        InvalidLoginKeyError: the new one is no compressed point of the curve.
        NoLoginKeyError: the user has none.
        ChallengeReplayedError, ChallengeExpiredError, WrongChallengeError: of the nonce.
        LoginSignatureError: one of the two did not sign this.
        LoginKeyRevokedError: the old one no longer logs in.
        DuplicateLoginKeyError: the new one is in use, or was this user's before.
        LoginKeyChangedError: it was changed at the same moment, or too often.
        UnavailableError: Redis is away.
    """
    new_key = _parse_key("newPmcHex", new_public_key_hex)
    found = SvdKey.find(user_id.lower())
    standing = found or SvdKey(user_id=user_id.lower(), public_key_hex=NOBODYS_KEY_HEX)
    old_key = PublicKey.from_hex(standing.public_key_hex)
    signed = digest(key_rotation_message(user_id, new_public_key_hex, nonce))
    challenge = _challenge(user_id, nonce)
    with for_users_with_a_key(has_key=found is not None), challenges.answering(challenge):
        check_signature(old_key, signature_der_hex, signed)
        check_signature(new_key, new_signature_der_hex, signed)
    if standing.revoked_at is not None:
        raise LoginKeyRevokedError("this key has been revoked; the operator can register another")
    if len(standing.history) >= MAX_ROTATIONS:
        raise LoginKeyChangedError("this key was changed too often; ask the operator")
    challenges.consume(challenge)
    _replace(standing, new_key, BY_USER)


def get(user_id: str) -> SvdKey:
    """A user's key with its history.

    Raises:
        NotFoundError: the user has none.
    """
    found = SvdKey.find(user_id.lower())
    if found is None:
        raise NotFoundError("this user has no login key")
    return found


def revoke(user_id: str, by: str) -> bool:
    """Ends a user's key, here and on every other process; False when it had ended before.

    Tokens that it got live on until they expire, 15 minutes at most.

    Raises:
        NotFoundError: the user has none.
    """
    is_revoked = get(user_id).revoke(by)
    if is_revoked:
        _log("revoked", user_id, by)
    return is_revoked


def replace(user_id: str, new_public_key_hex: str, by: str) -> None:
    """Gives a user who lost a key, revoked or not, another one by an operator's word.

    Raises:
        NotFoundError: the user has none.
        InvalidLoginKeyError: the new one is no compressed point of the curve.
        DuplicateLoginKeyError: the new one is in use, or was this user's before.
        LoginKeyChangedError: it was changed at the same moment.
    """
    _replace(get(user_id), _parse_key("newPmcHex", new_public_key_hex), by)


def _replace(standing: SvdKey, new_key: PublicKey, by: str) -> None:
    new = new_key.to_hex()
    earlier = {standing.public_key_hex, *(each.public_key_hex for each in standing.history)}
    if new in earlier:
        raise DuplicateLoginKeyError("this is, or was, the user's own key; make a new one")
    try:
        is_replaced = standing.replace(new, by, is_proven=by == BY_USER)
    except DuplicateSvdKeyError:
        raise DuplicateLoginKeyError("another user has this key") from None
    if not is_replaced:
        raise LoginKeyChangedError("the key was changed at the same moment")
    _log("replaced", standing.user_id, by)


def _store(new: SvdKey) -> None:
    """Stores a first key. An erased user's id stays theirs, so that nobody logs in as them."""
    taken = DuplicateLoginKeyError("the user has a key already, or the key is taken")
    subject_digest = subjects.digest(new.user_id)
    if Erasure.reserves(subject_digest):
        raise taken
    try:
        new.insert()
    except DuplicateSvdKeyError:
        raise taken from None
    # The one that was there may have been erased since the id was looked up.
    if Erasure.reserves(subject_digest):
        SvdKey.remove(new.user_id, new.public_key_hex, new.registered_at)
        raise taken


def _challenge(user_id: str, nonce: str) -> Challenge:
    return Challenge(Purpose.KEY, user_id.lower(), bytes.fromhex(nonce))


def _parse_key(field: str, public_key_hex: str) -> PublicKey:
    try:
        return PublicKey.from_hex(public_key_hex)
    except InvalidPublicKeyError as error:
        raise InvalidLoginKeyError.for_field(field, str(error)) from None


def _proof_needed() -> InvalidInputError:
    details: list[FieldError] = [
        {"field": name, "message": "is required: ask /api/svd/register-challenge for a nonce"}
        for name in ("nonce", "signatureHex")
    ]
    return InvalidInputError("registering a key needs its signature over a nonce", details=details)


def _log(what: str, user_id: str, by: str) -> None:
    logger.info(
        "login key %s",
        what,
        extra={"event": f"login_key.{what}", "user_id": user_id.lower(), "by": by},
    )
