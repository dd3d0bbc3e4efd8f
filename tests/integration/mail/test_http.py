"""The two routes from outside: ask, read the mail, submit, use the token."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.services import code_delivery
from tests.integration.api.caller import Caller
from tests.integration.mail.lab import ADDRESS, CALM, MailLab
from tests.integration.mail.servers import Postbox, smtp_server

REQUEST = "/v1/auth/request-verification"
SUBMIT = "/v1/auth/submit-verification"


def ask(caller: Caller, identifier: Any = ADDRESS, **more: Any) -> Any:
    """Asks for a code, without any credentials."""
    return caller.post(REQUEST, {"identifier": identifier, **more}, headers={"x-api-key": ""})


def submit(caller: Caller, code: Any, identifier: Any = ADDRESS, **more: Any) -> Any:
    body = {"identifier": identifier, "code": code, **more}
    return caller.post(SUBMIT, body, headers={"x-api-key": ""})


def test_f23_ask_read_submit(caller: Caller, mail_lab: MailLab) -> None:
    asked = ask(caller)
    [code] = mail_lab.codes_mailed()
    given = submit(caller, code)

    assert (asked.status_code, set(asked.json)) == (200, {"success", "message"})
    assert asked.json["success"] is True
    assert code not in asked.get_data(as_text=True)
    assert (given.status_code, set(given.json)) == (200, {"success", "token"})
    assert given.headers["Cache-Control"] == "no-store"
    logout = caller.post(
        "/v1/auth/logout", headers={"Authorization": f"Bearer {given.json['token']}"}
    )
    assert logout.status_code < 300


def test_the_answer_comes_before_the_mail_in_asynchronous_mode(
    caller: Caller, mail_lab: MailLab
) -> None:
    caller.start(**CALM, JOBS_ASYNC="1")

    assert ask(caller).status_code == 200
    assert mail_lab.mails() == []
    assert code_delivery.sweep() == 1


def test_a_refused_code_says_why_in_the_contracts_words(caller: Caller, mail_lab: MailLab) -> None:
    ask(caller)
    [code] = mail_lab.codes_mailed()
    other = "100000" if code != "100000" else "100001"

    answers = [submit(caller, other), submit(caller, code, "nobody@away.example")]

    for answer, code_word, reason in zip(
        answers,
        ("invalid_code", "code_not_found"),
        ("InvalidCode", "NotFoundOrExpired"),
        strict=True,
    ):
        assert answer.status_code == 401
        assert answer.json["success"] is False
        assert answer.json["reason"] == reason
        assert answer.json["code"] == answer.json["error"]["code"] == code_word
        assert answer.json["message"]


def test_any_spelling_of_an_address_is_the_same_address(caller: Caller, mail_lab: MailLab) -> None:
    ask(caller, f"  {ADDRESS.upper()}\n")
    [mail] = mail_lab.mails()
    assert mail["X-Envelope-To"] == ADDRESS

    answer = submit(caller, mail_lab.codes_mailed()[0], f"\t{ADDRESS.title()} ")

    assert answer.status_code == 200


def test_s8_unknown_members_are_dropped_and_change_nothing(
    caller: Caller, mail_lab: MailLab
) -> None:
    assert ask(caller, userId="somebody", more={"identifier": "x"}).status_code == 200
    assert submit(caller, mail_lab.codes_mailed()[0], userId=[1]).status_code == 200


def test_mail_that_fails_is_told_and_leaves_nothing(
    caller: Caller, mail_lab: MailLab, postbox: Postbox
) -> None:
    with smtp_server(postbox) as port:
        caller.start(**CALM, SMTP_PORT=str(port))
        postbox.rcpt_answer = f"550 5.1.1 <{ADDRESS}> is unknown"
        refused = ask(caller)
        postbox.rcpt_answer = "451 4.7.1 later"
        later = ask(caller)
    away = ask(caller)

    assert (refused.status_code, refused.json["code"]) == (500, "mail_refused")
    assert ADDRESS not in refused.get_data(as_text=True)
    for answer in (later, away):
        assert (answer.status_code, answer.json["code"]) == (503, "mail_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    assert refused.json["success"] is later.json["success"] is False
    assert mail_lab.row().code_hash is None


def test_50_submits_at_once_give_one_token(caller: Caller, mail_lab: MailLab) -> None:
    ask(caller)
    [code] = mail_lab.codes_mailed()

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: submit(caller, code).status_code, range(50)))

    assert statuses.count(200) == 1
    assert statuses.count(401) == 49


def metrics_of(caller: Caller) -> dict[str, float]:
    """What `/internal/metrics` shows, by name and label."""
    answer = caller.get("/internal/metrics", headers={"x-api-key": caller.lab.env["API_KEY"]})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    lines = answer.get_data(as_text=True).splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def test_logins_are_counted(caller: Caller, mail_lab: MailLab) -> None:
    issued, given = 'pp_challenges_issued{method="email"}', 'pp_jwt_success{method="email"}'
    assert metrics_of(caller) == {issued: 0, given: 0}

    ask(caller)
    ask(caller)
    submit(caller, mail_lab.codes_mailed()[-1])
    submit(caller, "123456")

    assert metrics_of(caller) == {issued: 2, given: 1}
    caller.start(**CALM, METRICS_ENABLED="0")
    ask(caller)
    assert metrics_of(caller) == {}
    caller.start(**CALM)
    assert metrics_of(caller) == {issued: 2, given: 1}


def test_the_counters_ask_for_a_key(caller: Caller) -> None:
    assert caller.get("/internal/metrics").status_code == 401
