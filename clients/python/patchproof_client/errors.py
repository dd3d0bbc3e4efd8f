"""What can go wrong, one class a family.

    PatchProofError
        ApiError                  the service said no: `status`, `code`, `message`, `request_id` ..
            InvalidRequestError   it will never be accepted as it is; `details` name the fields
            AuthenticationError   the API key or the token is missing, wrong or over
            LoginError            logging in or changing a login key did not work
                ChallengeError    the challenge is over: begin again
            CodeError             the mailed code is wrong or over
            PermissionDeniedError the caller is known and may not do this
            NotFoundError
            ConflictError         the state is another one
                AlreadyRegisteredError, PatchMovedError
            IdempotencyError      the key came with another request, or the first is at work
            RateLimitedError      too often; `retry_after_seconds` says when
            ServerError           the service has failed
                UnavailableError  for the moment
        NoAnswerError             nothing came back; it may have acted or not
        UnexpectedAnswerError     what came back is not the contract's
        RecordFailedError, ClaimEndedError, StillPendingError   how waiting ended
        MissingCredentialsError, ClientClosedError              nothing was sent

A code that this version has never heard of is an error of its status's family; whatever it is, the
attributes of ApiError are there. No message, repr or traceback holds a key, a token or a code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class PatchProofError(Exception):
    """Anything that this client raises, but for arguments that can't be meant (ValueError)."""


class ClientClosedError(PatchProofError):
    """The client was closed, perhaps while this call was waiting."""


class MissingCredentialsError(PatchProofError):
    """The call needs an API key or a login that this client does not have; nothing was sent."""


class NoAnswerError(PatchProofError):
    """No whole answer came in time.

    `was_sent` is False where no try made a connection, so that the service can't have acted.
    """

    def __init__(self, reason: str, *, request_id: str, was_sent: bool) -> None:
        super().__init__(f"{reason} (request {request_id})")
        self.request_id = request_id
        self.was_sent = was_sent


class UnexpectedAnswerError(PatchProofError):
    """An answer that is not the contract's: another service, a proxy's page, a newer version."""

    def __init__(self, reason: str, *, status: int, request_id: str) -> None:
        super().__init__(f"{reason} (status {status}, request {request_id})")
        self.status = status
        self.request_id = request_id


class RecordFailedError(PatchProofError):
    """A record that was accepted has ended as failed; `reason` is the service's."""

    def __init__(self, kind: str, uid_tag_id: str, reason: str | None) -> None:
        super().__init__(f"the {kind} of {uid_tag_id} failed: {reason or 'no reason given'}")
        self.kind = kind
        self.uid_tag_id = uid_tag_id
        self.reason = reason


class ClaimEndedError(PatchProofError):
    """A claim has failed or expired; `status` says which."""

    def __init__(self, claim_id: str, status: str, reason: str | None) -> None:
        super().__init__(f"the claim {claim_id} has {status}: {reason or 'no reason given'}")
        self.claim_id = claim_id
        self.status = status
        self.reason = reason


class StillPendingError(PatchProofError, TimeoutError):
    """Waiting took as long as it might; what was waited for goes on by itself."""


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field: its dotted path and what was expected there."""

    field: str
    message: str


class ApiError(PatchProofError):
    """The service refused a request.

    `code` is for programs, `message` for people; `request_id` finds the request in its logs.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        request_id: str,
        details: Sequence[FieldProblem] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"the API answers {status} {code}: {message} (request {request_id})")
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.details = tuple(details)
        self.retry_after_seconds = retry_after_seconds


class InvalidRequestError(ApiError):
    """The request can never be accepted as it is."""


class AuthenticationError(ApiError):
    """The API key or the token is missing, wrong or over."""


class LoginError(ApiError):
    """Logging in, or registering or changing a login key, did not work."""


class ChallengeError(LoginError):
    """The challenge is unknown, used or over; a new one may do."""


class CodeError(ApiError):
    """The mailed code is wrong, used or over."""


class PermissionDeniedError(ApiError):
    """The caller is known and may not do this: no owner of the patch, a key without the scope."""


class NotFoundError(ApiError):
    """There is no such thing."""


class ConflictError(ApiError):
    """The state is another one than the request needs."""


class AlreadyRegisteredError(ConflictError):
    """The tag has a registration already."""


class PatchMovedError(ConflictError):
    """The patch has another head by now, or a transfer of it is under way."""


class IdempotencyError(ApiError):
    """The idempotency key came with another request, or the first one is still at work."""


class RateLimitedError(ApiError):
    """The caller has asked too often; refused before anything was done."""


class ServerError(ApiError):
    """The service has failed; that is not the caller's fault."""


class UnavailableError(ServerError):
    """A part of the service is away for the moment; the same request may work later."""


_FAMILY_OF_CODE: Mapping[str, type[ApiError]] = {
    "patch_already_registered": AlreadyRegisteredError,
    "patch_moved": PatchMovedError,
    "idempotency_key_reused": IdempotencyError,
    "idempotency_in_progress": IdempotencyError,
    "SVD_EXPIRED": ChallengeError,
    "SVD_REPLAYED": ChallengeError,
    "SVD_BAD_CHALLENGE": ChallengeError,
    "SVD_NO_PMC": LoginError,
    "SVD_INVALID_SIGNATURE": LoginError,
    "SVD_KEY_REVOKED": LoginError,
    "DUPLICATE_PMC": LoginError,
    "VALIDATION_ERROR": LoginError,
    "key_changed": LoginError,
    "code_not_found": CodeError,
    "invalid_code": CodeError,
    "NotFoundOrExpired": CodeError,
    "InvalidCode": CodeError,
}
_FAMILY_OF_STATUS: Mapping[int, type[ApiError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitedError,
    503: UnavailableError,
}


def family_of(status: int, code: str) -> type[ApiError]:
    """The class of a refusal: by its code where that says more, else by its status."""
    by_status = _FAMILY_OF_STATUS.get(status, ServerError if status >= 500 else ApiError)
    return _FAMILY_OF_CODE.get(code, by_status)
