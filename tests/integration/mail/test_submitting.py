"""Each code gives one token, guessing is bounded, and nobody else's guesses take a code away."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bcrypt
import pytest

from app import extensions
from app.domain.states import CodeStatus
from app.errors import CodeNotFoundError, CodeRefusedError, InvalidCodeError
from app.models.verification_code import VerificationCode
from app.services import code_delivery, codes, tokens
from tests.integration.mail.lab import ADDRESS, MailLab

STRANGER = "stranger@away.example"


def wrong(code: str) -> str:
    """Another code."""
    return "100000" if code != "100000" else "100001"


def outcome_of(submit: Callable[[], str]) -> str:
    """The reason of a refusal, or `token`."""
    try:
        submit()
    except CodeRefusedError as error:
        return error.reason
    return "token"


def test_a_code_is_used_once(lab: MailLab) -> None:
    code = lab.mailed_code()

    token = codes.submit(ADDRESS, code)

    assert tokens.verify(token)["sub"] == ADDRESS
    row = lab.row()
    assert (row.status, row.code_hash) == (CodeStatus.USED, None)
    with pytest.raises(CodeNotFoundError):
        codes.submit(ADDRESS, code)


def test_parallel_submits_of_the_right_code_give_one_token(lab: MailLab) -> None:
    code = lab.mailed_code()

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(
            pool.map(lambda _: outcome_of(lambda: codes.submit(ADDRESS, code)), [0] * 20)
        )

    assert sorted(outcomes) == ["NotFoundOrExpired"] * 19 + ["token"]


def test_s9_wrong_codes_leave_the_right_one_until_there_were_too_many(lab: MailLab) -> None:
    code = lab.mailed_code()
    for _ in range(codes.MAX_ATTEMPTS - 1):
        with pytest.raises(InvalidCodeError):
            codes.submit(ADDRESS, wrong(code))

    assert codes.submit(ADDRESS, code)


def test_guessing_is_bounded_and_a_new_code_can_be_asked_for(lab: MailLab) -> None:
    code = lab.mailed_code()
    for _ in range(codes.MAX_ATTEMPTS):
        with pytest.raises(InvalidCodeError):
            codes.submit(ADDRESS, wrong(code))

    for guess in (wrong(code), code):
        with pytest.raises(CodeNotFoundError):
            codes.submit(ADDRESS, guess)
    assert codes.submit(ADDRESS, lab.mailed_code())


def test_parallel_guesses_are_no_more_than_those_one_by_one(lab: MailLab) -> None:
    code = lab.mailed_code()

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(
            pool.map(lambda _: outcome_of(lambda: codes.submit(ADDRESS, wrong(code))), [0] * 40)
        )

    assert outcomes.count("InvalidCode") == codes.MAX_ATTEMPTS
    assert outcomes.count("NotFoundOrExpired") == 40 - codes.MAX_ATTEMPTS
    with pytest.raises(CodeNotFoundError):
        codes.submit(ADDRESS, code)


def test_a_code_is_good_for_fifteen_minutes_after_it_was_sent(lab: MailLab) -> None:
    code = lab.mailed_code()
    lab.pass_time(14 * 60)
    with pytest.raises(InvalidCodeError):
        codes.submit(ADDRESS, wrong(code))

    lab.pass_time(60)
    with pytest.raises(CodeNotFoundError):
        codes.submit(ADDRESS, code)


def test_a_code_logs_in_its_own_address_only(lab: MailLab) -> None:
    code = lab.mailed_code()
    lab.mailed_code(STRANGER)
    # As if the two codes were the same.
    row = lab.row(STRANGER)
    lab.collection("verification_codes").update_one(
        {"_id": row.id}, {"$set": {"code_hash": lab.row().code_hash}}
    )

    with pytest.raises(InvalidCodeError):
        codes.submit(STRANGER, code)


def test_the_database_alone_does_not_give_a_code_away(lab: MailLab) -> None:
    code = lab.mailed_code()
    code_hash = lab.row().code_hash.encode()

    assert not bcrypt.checkpw(code.encode(), code_hash)
    lab.configure(MASTER_SECRET="another secret than that which made the hash")
    with pytest.raises(InvalidCodeError):
        codes.submit(ADDRESS, code)


def test_s10_an_unknown_address_costs_as_much_as_a_known_one(
    lab: MailLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    lab.configure(VERIFY_CODE_SALT_ROUNDS="5")

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(word: bytes, salt: bytes) -> Any:
            made.append(salt.split(b"$")[2].decode())
            return function(word, salt)

        return wrapper

    code = lab.mailed_code()
    monkeypatch.setattr(bcrypt, "checkpw", counted(bcrypt.checkpw))
    monkeypatch.setattr(bcrypt, "hashpw", counted(bcrypt.hashpw))
    for address, submitted in (
        (STRANGER, code),
        (ADDRESS, wrong(code)),
        (ADDRESS, code),
        (ADDRESS, code),
    ):
        outcome_of(lambda address=address, submitted=submitted: codes.submit(address, submitted))

    assert made == ["05"] * 4


def test_nothing_that_is_not_sent_can_be_submitted(lab: MailLab) -> None:
    codes.request(ADDRESS)

    with pytest.raises(CodeNotFoundError):
        codes.submit(ADDRESS, "123456")
    assert lab.row().attempts == 0


def test_what_is_over_is_deleted_by_the_database(lab: MailLab) -> None:
    indexes = lab.collection("verification_codes").index_information()

    [ttl] = [index for index in indexes.values() if "expireAfterSeconds" in index]
    assert (ttl["key"], ttl["expireAfterSeconds"]) == ([("expires_at", 1)], 0)
    codes.request(ADDRESS)
    code_delivery.sweep()
    assert lab.row().expires_at is not None
    assert extensions.missing_indexes() == []
    assert VerificationCode.objects.count() == 1
