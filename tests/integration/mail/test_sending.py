"""One mail a request, whatever fails, and nothing of the code outside of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bson import ObjectId
from pymongo.errors import ConnectionFailure

from app import extensions, logs
from app.clients.mail import MailStatus
from app.domain.states import CodeStatus
from app.errors import (
    CodeNotFoundError,
    CodeRefusedError,
    InvalidCodeError,
    MailRefusedError,
    MailUnavailableError,
)
from app.models.verification_code import VerificationCode
from app.queue import Queue
from app.services import code_delivery, codes, tokens
from tests.integration.mail.lab import ADDRESS, MailLab, code_in, read_mails
from tests.integration.mail.servers import Conversation, Postbox, crooked_server

NOBODY_LISTENS = {"SMTP_PORT": "1"}


@pytest.fixture
def no_redis(lab: MailLab) -> Iterator[None]:
    """Stops Redis, and starts it again at the end."""
    lab.devnet.stop("redis")
    yield
    lab.devnet.start("redis")


def watch_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Collects all lines, but for those that no process of ours writes (`app/logs.py`)."""
    caplog.set_level(logging.WARNING, logger="pymongo")
    # The last level counts for what is collected.
    caplog.set_level(logging.DEBUG)


def deliver(lab: MailLab) -> object:
    """Does what the task does that the request has started."""
    return code_delivery.deliver(lab.row().id)


def test_a_code_is_mailed_and_logs_in(lab: MailLab) -> None:
    codes.request(ADDRESS)
    assert lab.mails() == []
    deliver(lab)

    [mail] = lab.mails()
    assert mail["X-Envelope-To"] == ADDRESS
    assert mail["From"] == "PatchProof <codes@patchproof.example>"
    assert mail["Subject"] == "Your code for PatchProof"
    assert "1" not in mail["Subject"]
    assert mail["Auto-Submitted"] == "auto-generated"
    claims = tokens.verify(codes.submit(ADDRESS, code_in(mail)))
    assert claims["sub"] == ADDRESS
    assert (claims["aud"], claims["iss"]) == ("patchproof:api", "patchproof:auth-service")
    assert claims["exp"] - claims["iat"] == 24 * 60 * 60


def test_a_brand_is_shown_as_it_is_and_is_no_markup(lab: MailLab) -> None:
    lab.configure(BRAND_NAME='Näh & <b>Söhne</b>, "GmbH"', EMAIL_FROM="codes@shop.example")
    lab.mailed_code()

    [mail] = lab.mails()
    assert mail["Subject"] == 'Your code for Näh & <b>Söhne</b>, "GmbH"'
    assert mail["From"].addresses[0].display_name == 'Näh & <b>Söhne</b>, "GmbH"'
    page = mail.get_body(("html",)).get_content()
    assert "<strong>Näh &amp; &lt;b&gt;Söhne&lt;/b&gt;" in page
    assert "http" not in page
    assert "src=" not in page


def test_a_task_that_runs_twice_sends_one_mail(lab: MailLab) -> None:
    codes.request(ADDRESS)

    deliver(lab)
    assert deliver(lab) is None
    assert code_delivery.sweep() == 0

    assert len(lab.mails()) == 1


def test_many_workers_at_once_send_one_mail(lab: MailLab) -> None:
    codes.request(ADDRESS)
    code_id = lab.row().id

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(code_delivery.deliver, [code_id] * 16))

    assert len([outcome for outcome in outcomes if outcome]) == 1
    [code] = lab.codes_mailed()
    assert codes.submit(ADDRESS, code)


def test_many_requests_at_once_are_one_address_with_one_code_that_works(lab: MailLab) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(codes.request, [ADDRESS] * 16))

    assert VerificationCode.objects.count() == 1
    code_delivery.sweep()
    [code] = lab.codes_mailed()
    assert codes.submit(ADDRESS, code)


def test_a_task_for_what_is_gone_does_nothing(lab: MailLab) -> None:
    assert code_delivery.deliver(ObjectId()) is None


def test_p3_p4_code_and_address_are_nowhere_but_in_the_mail(
    lab: MailLab, caplog: pytest.LogCaptureFixture
) -> None:
    watch_logs(caplog)
    token = logs.request_id.set("req-4711")

    codes.request(ADDRESS)
    waiting = lab.stored_anywhere()
    [message] = extensions.get().redis.lrange(Queue.MAIL.value, 0, -1)
    assert ADDRESS not in message
    deliver(lab)
    [code] = lab.codes_mailed()
    with pytest.raises(InvalidCodeError):
        codes.submit(ADDRESS, "999999")
    sent = lab.stored_anywhere()
    codes.submit(ADDRESS, code)

    # The address is in its own document, and nowhere else.
    for stored in (waiting, sent, lab.stored_anywhere()):
        assert code not in stored
        assert stored.count(ADDRESS) == 1
    logged = "\n".join(repr(vars(record)) for record in caplog.records)
    assert code not in logged
    assert ADDRESS not in logged
    [line] = [record for record in caplog.records if vars(record).get("event") == "mail.sent"]
    assert vars(line)["request_ids"] == ["req-4711"]
    assert vars(line)["mail_id"] in lab.mails()[0]["Message-ID"]
    logs.request_id.reset(token)


def test_a_new_code_replaces_the_old_one(lab: MailLab) -> None:
    old = lab.mailed_code()
    new = lab.mailed_code()

    with pytest.raises(CodeRefusedError if old != new else CodeNotFoundError):
        codes.submit(ADDRESS, old if old != new else "999999")
    assert codes.submit(ADDRESS, new)


def test_a_request_kills_the_old_code_at_once(lab: MailLab) -> None:
    old = lab.mailed_code()
    codes.request(ADDRESS)

    with pytest.raises(CodeNotFoundError):
        codes.submit(ADDRESS, old)


def test_whoever_is_overtaken_while_sending_changes_nothing(
    lab: MailLab, own_server: None, postbox: Postbox
) -> None:
    postbox.pause()
    codes.request(ADDRESS)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(deliver, lab)
        postbox.wait_until_reached()
        codes.request(ADDRESS)
        newer = lab.row().turn_id
        postbox.release()
        sending.result(timeout=60)

    row = lab.row()
    assert (row.status, row.turn_id) == (CodeStatus.REQUESTED, newer)
    deliver(lab)
    old, new = map(code_in, postbox.mails)
    if old != new:
        with pytest.raises(InvalidCodeError):
            codes.submit(ADDRESS, old)
    assert codes.submit(ADDRESS, new)


def test_a_mail_that_has_arrived_works_before_its_sender_has_noted_so(
    lab: MailLab, own_server: None, postbox: Postbox
) -> None:
    postbox.pause(after_the_mail=True)
    codes.request(ADDRESS)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(deliver, lab)
        postbox.wait_until_reached()
        token = codes.submit(ADDRESS, code_in(postbox.mails[0]))
        postbox.release()
        sending.result(timeout=60)

    assert token
    assert lab.row().status == CodeStatus.USED


def test_a_recipient_that_is_refused_ends_the_request(
    lab: MailLab, own_server: None, postbox: Postbox
) -> None:
    postbox.rcpt_answer = f"550 5.1.1 no {ADDRESS} here"
    codes.request(ADDRESS)
    deliver(lab)

    row = lab.row()
    assert (row.status, row.code_hash, row.next_attempt_at) == (CodeStatus.FAILED, None, None)
    assert row.reason == "RCPT was answered with 550 5.1.1"
    postbox.rcpt_answer = ""
    lab.pass_pause()
    assert code_delivery.sweep() == 0
    # The address is not lost for ever.
    codes.request(ADDRESS)
    assert code_delivery.sweep() == 1


def test_what_could_not_be_sent_goes_out_later_with_another_code(lab: MailLab) -> None:
    lab.configure(**NOBODY_LISTENS)
    codes.request(ADDRESS)
    deliver(lab)

    row = lab.row()
    assert (row.status, row.code_hash) == (CodeStatus.REQUESTED, None)
    assert row.next_attempt_at > row.requested_at
    with pytest.raises(CodeNotFoundError):
        codes.submit(ADDRESS, "123456")
    lab.configure()
    # Too early for the sweeper, and for a message that comes again.
    assert code_delivery.sweep() == 0
    assert deliver(lab) is None
    lab.pass_pause()
    assert code_delivery.sweep() == 1
    [code] = lab.codes_mailed()
    assert codes.submit(ADDRESS, code)


def test_after_so_many_tries_a_request_is_given_up(lab: MailLab) -> None:
    lab.configure(**NOBODY_LISTENS, MAIL_MAX_ATTEMPTS="3")
    codes.request(ADDRESS)
    for _ in range(3):
        assert lab.row().status == CodeStatus.REQUESTED
        lab.pass_pause()
        code_delivery.sweep()

    row = lab.row()
    assert (row.status, row.sends, row.code_hash) == (CodeStatus.FAILED, 3, None)
    assert "no answer" in row.reason
    lab.configure()
    lab.pass_pause()
    assert code_delivery.sweep() == 0


def test_a_code_that_would_come_too_late_is_not_sent(lab: MailLab) -> None:
    codes.request(ADDRESS)
    lab.pass_time(16 * 60)

    code_delivery.sweep()

    assert lab.row().status == CodeStatus.FAILED
    assert lab.mails() == []


def test_a_server_that_is_away_is_not_asked_for_everybody(lab: MailLab) -> None:
    lab.configure(**NOBODY_LISTENS)
    for number in range(3):
        codes.request(f"owner{number}@home.example")

    code_delivery.sweep()

    assert sum(row.sends for row in VerificationCode.objects) == 1


def test_a_server_that_fails_again_and_again_is_left_alone_for_a_while(lab: MailLab) -> None:
    lab.configure(**NOBODY_LISTENS, CIRCUIT_FAILURES="1", CIRCUIT_SECONDS="600")
    codes.request(ADDRESS)
    deliver(lab)
    lab.pass_pause()
    deliver(lab)

    assert lab.row().reason == "left alone after repeated failures"


def test_an_unknown_outcome_counts_as_sent(lab: MailLab) -> None:
    arrived: list[str] = []

    def lose(with_client: Conversation) -> None:
        with_client.take_recipient()
        with_client.hear()
        with_client.say("354 go on")
        arrived.extend(with_client.hear_mail())

    with crooked_server(lose) as port:
        lab.configure(SMTP_PORT=str(port))
        codes.request(ADDRESS)
        outcome = deliver(lab)

    assert outcome is not None
    assert outcome.status is MailStatus.UNKNOWN
    assert lab.row().status == CodeStatus.SENT
    lab.configure()
    assert code_delivery.sweep() == 0
    [code] = [line.strip() for line in arrived if line.strip().isdigit()]
    assert codes.submit(ADDRESS, code)


def test_a_message_that_is_lost_is_made_up_for_by_the_sweeper(lab: MailLab) -> None:
    lab.devnet.stop("redis")
    try:
        codes.request(ADDRESS)
    finally:
        lab.devnet.start("redis")

    assert code_delivery.sweep() == 1
    [code] = lab.codes_mailed()
    assert codes.submit(ADDRESS, code)


def test_without_redis_mails_go_out(lab: MailLab, no_redis: None) -> None:
    codes.request(ADDRESS)

    assert code_delivery.sweep() == 1
    assert codes.submit(ADDRESS, lab.codes_mailed()[0])


def test_what_a_dead_process_was_sending_is_sent_after_its_lease_with_another_code(
    lab: MailLab,
) -> None:
    codes.request(ADDRESS)
    died = lab.row()
    lease = extensions.get().settings.mail_lease_seconds
    assert died.claim("a hash", died.requested_at, code_delivery.lease()) is not None

    assert code_delivery.sweep() == 0
    assert deliver(lab) is None
    lab.pass_time(lease)
    assert code_delivery.sweep() == 1

    [code] = lab.codes_mailed()
    assert codes.submit(ADDRESS, code)


def test_synchronous_sending_is_over_when_the_caller_is_answered(lab: MailLab) -> None:
    lab.configure(JOBS_ASYNC="0")
    codes.request(ADDRESS)

    assert lab.row().status == CodeStatus.SENT
    assert extensions.get().redis.llen(Queue.MAIL.value) == 0
    assert codes.submit(ADDRESS, lab.codes_mailed()[0])


def test_synchronous_requests_at_once_leave_one_code_that_works(lab: MailLab) -> None:
    lab.configure(JOBS_ASYNC="0")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(codes.request, [ADDRESS] * 8))

    row = lab.row()
    assert row.status == CodeStatus.SENT
    [live] = [mail for mail in lab.mails() if str(row.turn_id) in mail["Message-ID"]]
    assert codes.submit(ADDRESS, code_in(live))


def test_a_synchronous_request_does_not_repeat_a_sending_that_is_on_its_way(
    lab: MailLab, own_server: None, postbox: Postbox
) -> None:
    postbox.pause()
    codes.request(ADDRESS)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(code_delivery.deliver_now, lab.row().id)
        postbox.wait_until_reached()
        code_delivery.deliver_now(lab.row().id)
        postbox.release()
        sending.result(timeout=60)

    assert len(postbox.mails) == 1
    assert codes.submit(ADDRESS, code_in(postbox.mails[0]))


def test_synchronous_failure_is_told_and_leaves_nothing_live(
    lab: MailLab, own_server: None, postbox: Postbox
) -> None:
    server = {"SMTP_PORT": str(extensions.get().settings.smtp_port), "JOBS_ASYNC": "0"}
    lab.configure(**server)
    for answer, error in (("550 no", MailRefusedError), ("451 busy", MailUnavailableError)):
        postbox.rcpt_answer = answer
        with pytest.raises(error):
            codes.request(ADDRESS)
        row = lab.row()
        assert (row.status, row.code_hash, row.next_attempt_at) == (CodeStatus.FAILED, None, None)
    lab.configure(JOBS_ASYNC="0", **NOBODY_LISTENS)
    with pytest.raises(MailUnavailableError) as refused:
        codes.request(ADDRESS)
    assert refused.value.retry_after_seconds
    lab.configure()
    assert code_delivery.sweep() == 0
    assert lab.mails() == []


def test_f23_without_a_mail_server_a_developer_finds_the_mail_in_a_folder(
    lab: MailLab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch_logs(caplog)
    lab.configure(SMTP_HOST="", MAIL_DIRECTORY=str(tmp_path / "mail"), JOBS_ASYNC="0")
    codes.request(ADDRESS)

    [path] = (tmp_path / "mail").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    [mail] = read_mails(tmp_path / "mail")
    code = code_in(mail)
    assert code not in "\n".join(repr(vars(record)) for record in caplog.records)
    assert codes.submit(ADDRESS, code)


def test_without_the_database_nothing_is_sent_and_nothing_lost(lab: MailLab) -> None:
    lab.configure(DB_SERVER_SELECTION_TIMEOUT_MS="500")
    codes.request(ADDRESS)
    code_id = lab.row().id
    lab.devnet.kill("database")
    try:
        with pytest.raises(ConnectionFailure):
            code_delivery.deliver(code_id)
        with pytest.raises(ConnectionFailure):
            codes.request("other@home.example")
    finally:
        lab.devnet.start("database")

    assert lab.mails() == []
    assert code_delivery.sweep() == 1
    assert codes.submit(ADDRESS, lab.codes_mailed()[0])


def test_a_database_lost_while_sending_costs_a_second_mail_and_nothing_else(
    lab: MailLab, own_server: None, postbox: Postbox
) -> None:
    port = str(extensions.get().settings.smtp_port)
    lab.configure(DB_SERVER_SELECTION_TIMEOUT_MS="500", SMTP_PORT=port, SMTP_TIMEOUT_MS="60000")
    postbox.pause(after_the_mail=True)
    codes.request(ADDRESS)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(deliver, lab)
        postbox.wait_until_reached()
        lab.devnet.kill("database")
        try:
            postbox.release()
            with pytest.raises(ConnectionFailure):
                sending.result(timeout=60)
        finally:
            lab.devnet.start("database")

    # Until the lease is over, the code of the mail that has arrived works.
    assert lab.row().is_live(lab.row().requested_at)
    lab.pass_time(extensions.get().settings.mail_lease_seconds)
    assert code_delivery.sweep() == 1
    assert len(postbox.mails) == 2
    assert codes.submit(ADDRESS, code_in(postbox.mails[1]))
