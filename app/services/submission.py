"""The last step of accepting a record: wake a worker, or anchor it in the request.

The record is durable before; whichever way is taken, the sweeper finishes what it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from app import extensions
from app.domain.clock import utc_now
from app.errors import ConflictError
from app.models.record import AuthenticationRecord, DuplicateRecordError
from app.queue import Task, enqueue
from app.services import anchoring


@dataclass(frozen=True)
class Submission:
    """An accepted record as it stands now, and the id of the task that was started for it."""

    record: AuthenticationRecord
    job_id: str | None


def submit(record: AuthenticationRecord, duplicate: ConflictError) -> Submission:
    """Stores a new record and sets it on its way.

    Raises:
        ConflictError: `duplicate`, where a live record has the same `active_key`.
        UnavailableError: synchronous mode only: no coins, or no signer. The record has failed and
            its uid is free again.
    """
    settings = extensions.get().settings
    now = utc_now()
    # In synchronous mode this request comes first; the sweeper only follows if it dies.
    head_start = 0 if settings.jobs_async else settings.claim_lease_seconds
    record.next_attempt_at = now + timedelta(seconds=head_start)
    try:
        record.insert()
    except DuplicateRecordError:
        raise duplicate from None
    if settings.jobs_async:
        return Submission(record, enqueue(Task.ANCHOR_RECORDS, record_id=str(record.id)))
    return Submission(_anchor_now(record), None)


def _anchor_now(record: AuthenticationRecord) -> AuthenticationRecord:
    result = anchoring.anchor([record])
    problem = result.waiting.get(record.id)
    # Where the sweeper was faster the record lives on, and the caller is told that it waits.
    if problem is not None and AuthenticationRecord.fail_unclaimed(record.id, problem.message):
        problem.retry_after_seconds = 30
        raise problem
    record.reload()
    return record
