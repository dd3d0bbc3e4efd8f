"""Login by a code that is mailed: ask for one, submit it, get a token."""

from __future__ import annotations

from pymongo.errors import DuplicateKeyError

from app import extensions, logs, measures
from app.domain.clock import utc_now
from app.domain.codes import hash_code, is_code
from app.errors import CodeNotFoundError, InvalidCodeError, UnavailableError
from app.models.verification_code import VerificationCode
from app.queue import Task, enqueue
from app.services import code_delivery, counters, mailing, tokens
from app.services.counters import Counter, Method

# So many guesses at one code, then it is dead. Whoever owns the address asks for another.
MAX_ATTEMPTS = 5


def request(identifier: str) -> None:
    """Has a code mailed to an address, in place of any code that it has.

    With JOBS_ASYNC it goes out soon, and again if it has to; otherwise before this returns.

    Raises:
        MailNotConfiguredError: there is no mail server.
        MailRefusedError, MailUnavailableError: it could not be sent; only without JOBS_ASYNC.
    """
    mailing.check_configured()
    try:
        code_id = VerificationCode.request(identifier, utc_now(), logs.request_id.get())
    except DuplicateKeyError:
        # Its text quotes the address.
        raise UnavailableError("others ask for the same; try again") from None
    counters.count(Counter.CHALLENGES_ISSUED, Method.EMAIL)
    measures.CODES.add("asked")
    if extensions.get().settings.jobs_async:
        enqueue(Task.SEND_CODE, code_id=str(code_id))
    else:
        code_delivery.deliver_now(code_id)


def submit(identifier: str, code: str) -> str:
    """Gives a token for the code that was mailed to an address; each code gives one.

    Raises:
        CodeNotFoundError: no code is out for this address, it is used or expired, or there were
            too many wrong ones.
        InvalidCodeError: another code is out.
    """
    now = utc_now()
    found = VerificationCode.find_by_identifier(identifier)
    if found is None or not found.is_live(now) or not found.take_attempt(MAX_ATTEMPTS, now):
        # As long as it takes to compare one, so that the time tells nothing.
        _hash(identifier, code)
        measures.CODES.add("none_waiting")
        raise _not_found()
    if not is_code(code, identifier, found.code_hash, key=_key()):
        measures.CODES.add("wrong")
        raise InvalidCodeError("this is not the code that was mailed")
    if not found.use():
        measures.CODES.add("none_waiting")
        raise _not_found()
    counters.count(Counter.TOKENS_ISSUED, Method.EMAIL)
    measures.CODES.add("complete")
    return tokens.issue_email(identifier)


def _not_found() -> CodeNotFoundError:
    return CodeNotFoundError("no code is waiting for this address: ask for a new one")


def _hash(identifier: str, code: str) -> str:
    cost = extensions.get().settings.verify_code_salt_rounds
    return hash_code(code, identifier, key=_key(), cost=cost)


def _key() -> bytes:
    return extensions.get().settings.master_secret.get_secret_value().encode()
