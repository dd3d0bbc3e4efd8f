"""Sends codes: each request once, again where it was certainly not sent.

The code is made when the mail is, and is nowhere but in this process and in the mail. The database
has its hash before the mail goes out, so a mail that arrives works whatever happens here then.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from bson import ObjectId

from app import extensions
from app.clients.mail import MailOutcome, MailStatus
from app.domain.backoff import backoff
from app.domain.clock import utc_now
from app.domain.codes import hash_code, make_code
from app.errors import MailRefusedError, MailUnavailableError
from app.models.verification_code import LIFE, VerificationCode
from app.services import mailing

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 5
_LONGEST_PAUSE_SECONDS = 120
_RETRY_AFTER_SECONDS = 60
_SWEEP_LIMIT = 100
# Less than a task may take, by more than the one mail that is on its way when it ends.
_SWEEP_SECONDS = 60


def deliver(code_id: ObjectId) -> MailOutcome | None:
    """Tries to send the code of a request; None when it is sent, being sent, not due or gone."""
    return _send_if_due(code_id, tries=extensions.get().settings.mail_max_attempts)


def deliver_now(code_id: ObjectId) -> None:
    """Sends the code of a request before its caller is answered, or gives the request up.

    Raises:
        MailRefusedError: the mail server does not take mail for this address.
        MailUnavailableError: the mail server is away.
    """
    outcome = _send_if_due(code_id, tries=1)
    if outcome is None or outcome.may_have_arrived:
        return
    if outcome.status is MailStatus.REFUSED:
        raise MailRefusedError("the mail server does not take mail for this address")
    raise MailUnavailableError(
        "the code can't be mailed at the moment; try again",
        retry_after_seconds=_RETRY_AFTER_SECONDS,
    )


def sweep() -> int:
    """Sends what nobody was woken for, what failed before and what a dead worker left.

    Answers how many mails went out. Stops where the mail server is in trouble: the rest would only
    meet the same.
    """
    sent = 0
    started = time.monotonic()
    tries = extensions.get().settings.mail_max_attempts
    for code in VerificationCode.list_due(utc_now(), _SWEEP_LIMIT):
        outcome = _send(code, tries=tries)
        if outcome is not None:
            sent += outcome.may_have_arrived
        if (outcome is not None and outcome.is_outage) or _is_over(started):
            break
    return sent


def lease() -> timedelta:
    """How long a sending may take before somebody else does it again."""
    return timedelta(seconds=extensions.get().settings.mail_lease_seconds)


def _is_over(started: float) -> bool:
    return time.monotonic() - started > _SWEEP_SECONDS


def _send_if_due(code_id: ObjectId, *, tries: int) -> MailOutcome | None:
    code = VerificationCode.find(code_id)
    return _send(code, tries=tries) if code is not None and code.is_due(utc_now()) else None


def _send(code: VerificationCode, *, tries: int) -> MailOutcome | None:
    """Claims the sending and does it; None when it was not to be done or another was first."""
    settings = extensions.get().settings
    if code.sends >= settings.mail_max_attempts or utc_now() > code.is_to_be_sent_by:
        VerificationCode.give_up(code.id, code.turn_id, code.reason or "it was not sent in time")
        return None
    digits = make_code()
    key = settings.master_secret.get_secret_value().encode()
    code_hash = hash_code(digits, code.identifier, key=key, cost=settings.verify_code_salt_rounds)
    turn_id = code.claim(code_hash, utc_now(), lease())
    if turn_id is None:
        return None
    started = time.monotonic()
    outcome = mailing.send(
        "code",
        to=code.identifier,
        subject=f"Your code for {settings.brand_name}",
        name=str(turn_id),
        code=digits,
        minutes=int(LIFE.total_seconds() // 60),
    )
    _log(code, turn_id, outcome, time.monotonic() - started)
    _note(code, turn_id, outcome, tries)
    return outcome


def _note(code: VerificationCode, turn_id: ObjectId, outcome: MailOutcome, tries: int) -> None:
    """Writes down what became of the mail, unless a newer request or sending has taken over."""
    if outcome.may_have_arrived:
        VerificationCode.mark_sent(code.id, turn_id)
    elif outcome.status is MailStatus.REFUSED or code.sends + 1 >= tries:
        VerificationCode.give_up(code.id, turn_id, outcome.reason)
    else:
        pause = backoff(
            code.sends, base_seconds=_FIRST_PAUSE_SECONDS, cap_seconds=_LONGEST_PAUSE_SECONDS
        )
        VerificationCode.send_later(
            code.id, turn_id, reason=outcome.reason, next_attempt_at=utc_now() + pause
        )


def _log(code: VerificationCode, turn_id: ObjectId, outcome: MailOutcome, seconds: float) -> None:
    level = logging.INFO if outcome.status is MailStatus.SENT else logging.WARNING
    logger.log(
        level,
        "mail %s",
        outcome.status,
        extra={
            "event": f"mail.{outcome.status}",
            "mail_id": str(turn_id),
            "code_id": str(code.id),
            "reason": outcome.reason,
            "sends": code.sends + 1,
            "milliseconds": round(seconds * 1000, 1),
            "request_ids": [code.request_id] if code.request_id else [],
        },
    )
