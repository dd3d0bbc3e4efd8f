"""The last step of accepting a record: wake a worker, or anchor it in the request.

The record is durable before; whichever way is taken, the sweeper finishes what it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app import extensions
from app.domain.clock import utc_now
from app.domain.states import RecordStatus
from app.errors import ConflictError, IdempotencyInProgressError
from app.models.record import AuthenticationRecord, DuplicateRecordError
from app.queue import Task, wake
from app.services import anchoring, idempotency
from app.services.idempotency import RepeatableRequest

_IN_PROGRESS_RETRY_SECONDS = 1


@dataclass(frozen=True)
class Submission:
    """An accepted record as it stands now, and the id of the task that was started for it.

    `is_final` where the caller is told the end, as synchronous mode does, instead of where to ask;
    `is_replayed` where an earlier request has made the record.
    """

    record: AuthenticationRecord
    job_id: str | None
    is_final: bool = False
    is_replayed: bool = False


def submit(
    record: AuthenticationRecord,
    duplicate: ConflictError,
    request: RepeatableRequest | None = None,
) -> Submission:
    """Stores a new record and sets it on its way; answers the earlier one where `request` has one.

    Raises:
        ConflictError: `duplicate`, where a live record has the same `active_key`.
        IdempotencyKeyReusedError, IdempotencyInProgressError: see `find_earlier`.
        UnavailableError: synchronous mode only: no coins, or no signer. The record has failed; its
            uid and the key of its request are free again.
    """
    if request is not None:
        request.mark(record)
    record.next_attempt_at = first_attempt_at()
    try:
        record.insert()
    except DuplicateRecordError:
        # The same request at the same time may have been faster.
        if (earlier := find_earlier(request)) is not None:
            return earlier
        raise duplicate from None
    if extensions.get().settings.jobs_async:
        return Submission(record, _wake(record))
    record = _anchor_now(record)
    return Submission(record, None, is_final=record.status == RecordStatus.CONFIRMED)


def first_attempt_at() -> datetime:
    """When the sweeper takes a new record up, should whoever stores it die.

    In synchronous mode the request comes first.
    """
    settings = extensions.get().settings
    head_start = 0 if settings.jobs_async else settings.claim_lease_seconds
    return utc_now() + timedelta(seconds=head_start)


def set_off(record: AuthenticationRecord) -> str | None:
    """Sets a stored record on its way; answers the id of the task that was started for it.

    Where it can't be anchored now it waits for the sweeper, in either mode.
    """
    if extensions.get().settings.jobs_async:
        return _wake(record)
    anchoring.anchor([record])
    return None


def find_earlier(request: RepeatableRequest | None) -> Submission | None:
    """Answers what the same request has submitted before, None where it comes for the first time.

    It does not wake a worker again: should that have been lost, the sweeper stands in.

    Raises:
        IdempotencyKeyReusedError: its key came with something else then.
        IdempotencyInProgressError: synchronous mode only: the earlier one is still at work.
    """
    record = None if request is None else idempotency.find_earlier(request)
    if record is None:
        return None
    settings = extensions.get().settings
    if settings.jobs_async:
        return Submission(record, _job_id(record), is_replayed=True)
    lease = timedelta(seconds=settings.claim_lease_seconds)
    if record.status == RecordStatus.PENDING and record.created_at > utc_now() - lease:
        raise IdempotencyInProgressError(
            "the first request with this Idempotency-Key is still being worked on",
            retry_after_seconds=_IN_PROGRESS_RETRY_SECONDS,
        )
    is_final = record.status == RecordStatus.CONFIRMED
    return Submission(record, None, is_final=is_final, is_replayed=True)


def _wake(record: AuthenticationRecord) -> str | None:
    return wake(Task.ANCHOR_RECORDS, task_id=_job_id(record))


def _job_id(record: AuthenticationRecord) -> str:
    """The same however often it is asked for, so that a repeated request has the same answer."""
    return str(record.id)


def _anchor_now(record: AuthenticationRecord) -> AuthenticationRecord:
    result = anchoring.anchor([record])
    problem = result.waiting.get(record.id)
    # Where the sweeper was faster the record lives on, and the caller is told that it waits.
    if problem is not None and AuthenticationRecord.refuse_unclaimed(record.id, problem.message):
        problem.retry_after_seconds = 30
        raise problem
    record.reload()
    return record
