"""What outside services can answer, and the errors for when they don't."""

from dataclasses import dataclass
from enum import StrEnum


class BroadcastStatus(StrEnum):
    """The meaning of a broadcaster's answer; what follows from it is the caller's business."""

    ACCEPTED = "accepted"
    ALREADY_KNOWN = "already_known"
    UNKNOWN = "unknown"
    MISSING_INPUTS = "missing_inputs"
    CONFLICT = "conflict"
    FEE_TOO_LOW = "fee_too_low"
    INVALID = "invalid"


@dataclass(frozen=True)
class BroadcastOutcome:
    """One answer to one broadcast, sorted; `reason` holds the service's own words.

    UNKNOWN means that the network may or may not have the transaction: send the same bytes
    again later. MISSING_INPUTS and CONFLICT are claims that need evidence. `was_refused` says of
    an UNKNOWN that the service did not even look at the transaction, so that it can't have it
    from this try. `is_outage` says that the service itself is in trouble, whatever was sent.
    `service` names who answered where several were asked.
    """

    status: BroadcastStatus
    reason: str
    http_status: int | None = None
    retry_after_seconds: float | None = None
    competing_txids: tuple[str, ...] = ()
    was_refused: bool = False
    is_outage: bool = False
    service: str = ""

    @property
    def is_success(self) -> bool:
        """Tell whether the network has the transaction, by this answer or an earlier one."""
        return self.status in (BroadcastStatus.ACCEPTED, BroadcastStatus.ALREADY_KNOWN)


class ClientError(Exception):
    """An outside service could not do what it was asked; the text holds no secrets."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"{service}: {reason}")
        self.service = service
        self.reason = reason


class ServiceUnavailableError(ClientError):
    """The service gave no usable answer within its tries: silence, 5xx or 429."""

    def __init__(self, service: str, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(service, reason)
        self.retry_after_seconds = retry_after_seconds


class UnexpectedAnswerError(ServiceUnavailableError):
    """The service answered with something that can't be right; callers change nothing on it."""


class WrongNetworkError(UnexpectedAnswerError):
    """The service answers for another chain than ours."""


class AuthenticationRefusedError(ServiceUnavailableError):
    """The service refused our key (401 or 403); an operator has to act."""
