"""Keys that people show to be theirs, so that an export and an erasure follow what they own."""

from __future__ import annotations

from app.domain.messages import is_signed_by, key_proof_message
from app.errors import KeyProofError, TooManyKeysError
from app.models.key_proof import KeyProof
from app.services.subjects import Subject

MAX_KEYS = 100


def prove(subject: Subject, public_key_hex: str, signature_der_hex: str) -> KeyProof:
    """Keeps that a key has signed for this subject, as their token spells them.

    The signature names the subject, so it is good for nobody else, and the same one again changes
    nothing. Key and signature are well formed already.

    Raises:
        KeyProofError: the key has not signed this.
        TooManyKeysError: there are MAX_KEYS already.
    """
    message = key_proof_message(subject.spelled, public_key_hex)
    if not is_signed_by(public_key_hex, signature_der_hex, message):
        raise KeyProofError(f"signature must be by pubKey, over {message.decode()}")
    known = {proof.public_key_hex for proof in KeyProof.list_of(subject.digest)}
    if public_key_hex not in known and len(known) >= MAX_KEYS:
        raise TooManyKeysError(f"there are {MAX_KEYS} keys already")
    return KeyProof.put(
        subject.digest, public_key_hex, subject=subject.spelled, signature=signature_der_hex
    )
