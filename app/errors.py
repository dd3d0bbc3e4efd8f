"""Errors of the domain. They know nothing of HTTP: app/api/errors.py gives each a status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class FieldError(TypedDict):
    """What is wrong with one field: its dotted path and what was expected there."""

    field: str
    message: str


class PatchProofError(Exception):
    """A failure whose message helps the caller; internals belong in the log."""

    code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        details: Sequence[FieldError] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = list(details or [])
        self.retry_after_seconds = retry_after_seconds


class InvalidInputError(PatchProofError):
    """The caller sent something that can never be accepted as it is."""

    code = "invalid_request"

    @classmethod
    def for_field(cls, field: str, message: str) -> InvalidInputError:
        """Names one field, at the top of the message and in the details."""
        return cls(f"{field}: {message}", details=[{"field": field, "message": message}])


class PayloadTooLargeError(PatchProofError):
    code = "payload_too_large"


class UnauthorizedError(PatchProofError):
    """The caller did not say who they are, or it could not be believed."""

    code = "unauthorized"


class MissingTokenError(UnauthorizedError):
    code = "missing_token"


class TokenExpiredError(UnauthorizedError):
    code = "token_expired"


class TokenInvalidError(UnauthorizedError):
    code = "token_invalid"


class TokenBindingError(UnauthorizedError):
    code = "invalid_svd_binding"


class TokenRevokedError(UnauthorizedError):
    """Its holder has logged out."""

    code = "token_revoked"


class InvalidLoginKeyError(InvalidInputError):
    """The public master key is no compressed point of the curve."""

    code = "VALIDATION_ERROR"


class NoLoginKeyError(InvalidInputError):
    """The user has no key to log in with."""

    code = "SVD_NO_PMC"


class ChallengeExpiredError(InvalidInputError):
    """The challenge, or the nonce, is unknown: it was never made, or its time is over."""

    code = "SVD_EXPIRED"


class WrongChallengeError(InvalidInputError):
    """The challenge, or the nonce, is another user's, or of a time to come."""

    code = "SVD_BAD_CHALLENGE"


class LoginSignatureError(UnauthorizedError):
    code = "SVD_INVALID_SIGNATURE"


class MalleableSignatureError(LoginSignatureError):
    """Its S is high: whoever saw the signature with the low one can have made it."""


class LoginKeyRevokedError(UnauthorizedError):
    """The signature is right, but the key no longer logs in."""

    code = "SVD_KEY_REVOKED"


class CodeRefusedError(UnauthorizedError):
    """A code that was mailed did not log anybody in; `reason` is the contract's word for why."""

    reason = ""


class CodeNotFoundError(CodeRefusedError):
    code = "code_not_found"
    reason = "NotFoundOrExpired"


class InvalidCodeError(CodeRefusedError):
    code = "invalid_code"
    reason = "InvalidCode"


class KeyProofError(UnauthorizedError):
    """A key has not signed that it is the caller's."""

    code = "invalid_key_proof"


class ClaimSignatureError(UnauthorizedError):
    code = "invalid_claim_signature"


class ForbiddenError(PatchProofError):
    code = "forbidden"


class InsufficientScopeError(ForbiddenError):
    """The caller is known and may do other things."""

    code = "insufficient_scope"


class NotOwnerError(ForbiddenError):
    code = "not_owner"


class OwnerSignatureError(ForbiddenError):
    code = "invalid_owner_signature"


class OwnerSignatureRequiredError(ForbiddenError):
    """The patch is not the shop's: a till moves it with its owner's signature only."""

    code = "owner_signature_required"


class ChallengeUsedError(ForbiddenError):
    """The nonce is unknown, expired, used, or belongs to another patch."""

    code = "invalid_nonce"


class NotFoundError(PatchProofError):
    code = "not_found"


class CertificateNotFoundError(NotFoundError):
    code = "certificate_not_found"


class CertificatePendingError(NotFoundError):
    """The record exists, but the network has not accepted it yet."""

    code = "certificate_pending"


class GoneError(PatchProofError):
    """It was here, and was taken away for good."""

    code = "gone"


class CertificateErasedError(GoneError):
    """Whoever the record was about had it erased; `current_head` is where its patch stands."""

    code = "certificate_erased"

    def __init__(self, message: str, *, current_head: str) -> None:
        super().__init__(message)
        self.current_head = current_head


class ConflictError(PatchProofError):
    code = "conflict"


class CertificateMismatchError(ConflictError):
    """The record is there, but is not what the address says of it."""

    code = "certificate_mismatch"


class CertificateRefusedError(ConflictError):
    """The patch is compromised."""

    code = "certificate_refused"


class PatchAlreadyRegisteredError(ConflictError):
    code = "patch_already_registered"


class PatchMovedError(ConflictError):
    """The patch has another head by now, or a transfer of this head is under way."""

    code = "patch_moved"


class IdempotencyInProgressError(ConflictError):
    """The first request with this key is still being worked on."""

    code = "idempotency_in_progress"


class IdempotencyKeyReusedError(PatchProofError):
    """The key came with another request before."""

    code = "idempotency_key_reused"


class ChallengeReplayedError(ConflictError):
    """The challenge, or the nonce, has been used."""

    code = "SVD_REPLAYED"


class DuplicateLoginKeyError(ConflictError):
    """The user has a key already, or the key is, or was, somebody's."""

    code = "DUPLICATE_PMC"


class LoginKeyChangedError(ConflictError):
    """Somebody else changed the user's key at the same moment, or it was changed too often."""

    code = "key_changed"


class ClaimReplayedError(ConflictError):
    """A claim's nonce or signature was used before."""

    code = "claim_replayed"


class ClaimNotPendingError(ConflictError):
    """The claim is approved, or has ended, already."""

    code = "claim_not_pending"


class ClaimExpiredError(ConflictError):
    code = "claim_expired"


class TooManyKeysError(ConflictError):
    """The caller has proven as many keys as anyone may."""

    code = "too_many_keys"


class LockHeldError(ConflictError):
    """Somebody else is at this work, here or on another host."""

    code = "maintenance_running"


class RateLimitedError(PatchProofError):
    """The caller has asked often enough for now."""

    code = "rate_limited"


class UnavailableError(PatchProofError):
    """Something outside is missing for the moment; the same request may work later."""

    code = "service_unavailable"


class PoolEmptyError(UnavailableError):
    code = "pool_empty"


class SignerUnavailableError(UnavailableError):
    code = "signer_unavailable"


class BatchAbandonedError(UnavailableError):
    """A batch can't reach the chain; its records wait again, and the next one may take them."""

    code = "batch_abandoned"


class LockLostError(UnavailableError):
    """The lock went to somebody else, or may have: the work stopped before its next write."""

    code = "lock_lost"


class MailNotConfiguredError(UnavailableError):
    """No mail server was named: an operator has to."""

    code = "mail_not_configured"


class MailUnavailableError(UnavailableError):
    code = "mail_unavailable"


class MailRefusedError(PatchProofError):
    """The mail server will never take a mail for this recipient."""

    code = "mail_refused"


class InconsistentStateError(PatchProofError):
    """Stored data contradicts itself: a defect or tampering, never the caller's fault."""

    code = "inconsistent_state"
