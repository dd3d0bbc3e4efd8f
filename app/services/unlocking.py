"""Owner-only content: a nonce to sign, used once, and the key that opens what was sealed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import redis
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app import extensions
from app.bitcoin.keys import PublicKey
from app.domain.canonical import sha256_hex
from app.domain.clock import utc_now
from app.domain.messages import digest, unlock_message
from app.errors import (
    ChallengeUsedError,
    InvalidInputError,
    NotFoundError,
    NotOwnerError,
    OwnerSignatureError,
    UnavailableError,
)
from app.models.patch_state import PatchState

_PREFIX = "unlock:challenge:"
_KEY_BYTES = 32


@dataclass(frozen=True)
class UnlockChallenge:
    """A nonce for the owner to sign, and until when."""

    nonce: str
    expires_at: datetime


@dataclass(frozen=True)
class SealedContent:
    """Content under a key of its own, and that key under one that is derived for the patch.

    `wrapped_key` and `ciphertext` end with their 16-byte tags; IVs have at least 12 bytes.
    """

    wrapped_key: bytes
    wrap_iv: bytes
    ciphertext: bytes
    cipher_iv: bytes


@dataclass(frozen=True)
class Unlocked:
    """The owner proved to be one; `content` is set where something sealed was handed in."""

    uid_tag_id: str
    txid: str
    content: str | None


def create_challenge(uid_tag_id: str) -> UnlockChallenge:
    """Makes a nonce that unlocks this patch once.

    Raises:
        NotFoundError: no patch has this uid.
        UnavailableError: Redis is away.
    """
    _get_state(uid_tag_id)
    current = extensions.get()
    ttl = current.settings.unlock_challenge_ttl_sec
    nonce = secrets.token_hex(16)
    expires_at = utc_now() + timedelta(seconds=ttl)
    try:
        current.redis.set(_challenge_key(uid_tag_id, nonce), "1", ex=ttl)
    except redis.RedisError as error:
        raise UnavailableError("challenges can't be kept at the moment; try again") from error
    return UnlockChallenge(nonce, expires_at)


def unlock(
    *,
    uid_tag_id: str,
    public_key_hex: str,
    signature_der_hex: str,
    nonce: str | None,
    sealed: SealedContent | None,
) -> Unlocked:
    """Checks the owner's signature over the patch's head and the nonce, and opens `sealed`.

    The nonce is consumed once the signature is good, so a stranger can't use it up.

    Raises:
        NotFoundError: no patch has this uid.
        InvalidInputError: the nonce is missing, or the sealed content does not open.
        NotOwnerError, OwnerSignatureError: the caller is not the owner.
        ChallengeUsedError: the nonce is unknown, used, expired or another patch's.
        UnavailableError: Redis is away.
    """
    state = _get_state(uid_tag_id)
    settings = extensions.get().settings
    if nonce is None and not settings.unlock_allow_static:
        raise InvalidInputError.for_field(
            "nonce", f"ask POST /v1/patches/{uid_tag_id}/unlock-challenge for one and sign it"
        )
    key = PublicKey.from_hex(public_key_hex)
    if key.address(settings.woc_network) != state.owner:
        raise NotOwnerError("ownerPubKey is not the key of the patch's current owner")
    message = unlock_message(uid_tag_id, state.head, nonce)
    if not key.verify(bytes.fromhex(signature_der_hex), digest(message)):
        raise OwnerSignatureError("ownerSignature does not sign this unlocking")
    if nonce is not None:
        _consume(nonce, uid_tag_id)
    content = None if sealed is None else _open(uid_tag_id, sealed)
    return Unlocked(uid_tag_id, state.head, content)


def _get_state(uid_tag_id: str) -> PatchState:
    state = PatchState.find(uid_tag_id)
    if state is None:
        raise NotFoundError("no patch has this uid")
    return state


def _consume(nonce: str, uid_tag_id: str) -> None:
    current = extensions.get()
    try:
        was_there = current.redis.delete(_challenge_key(uid_tag_id, nonce))
    except redis.RedisError as error:
        raise UnavailableError("challenges can't be checked at the moment; try again") from error
    if not was_there:
        raise ChallengeUsedError("the nonce is unknown, expired or used; ask for a new one")


def _challenge_key(uid_tag_id: str, nonce: str) -> str:
    # Hashed, so that no spelling of a uid and a nonce reaches another patch's challenge.
    return _PREFIX + sha256_hex(f"{uid_tag_id}\0{nonce}".encode())


def _open(uid_tag_id: str, sealed: SealedContent) -> str:
    try:
        content_key = AESGCM(_wrapping_key(uid_tag_id)).decrypt(
            sealed.wrap_iv, sealed.wrapped_key, None
        )
    except (InvalidTag, ValueError) as error:
        raise InvalidInputError.for_field(
            "wrappedKeyB64", "does not open with this patch's key and wrapIvB64"
        ) from error
    if len(content_key) != _KEY_BYTES:
        raise InvalidInputError.for_field("wrappedKeyB64", "does not hold a key of 32 bytes")
    try:
        content = AESGCM(content_key).decrypt(sealed.cipher_iv, sealed.ciphertext, None)
        return content.decode("utf-8")
    except (InvalidTag, ValueError) as error:
        raise InvalidInputError.for_field(
            "ciphertextB64", "does not open as UTF-8 text with the wrapped key and cipherIvB64"
        ) from error


def _wrapping_key(uid_tag_id: str) -> bytes:
    secret = extensions.get().settings.master_secret.get_secret_value().encode()
    return HKDF(
        algorithm=SHA256(),
        length=_KEY_BYTES,
        salt=uid_tag_id.encode(),
        info=b"patchproof-unlock-key",
    ).derive(secret)
