"""The mail client on real servers of each kind, and on servers that fail at each step."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from app.clients.mail import (
    MAIL_POLICY,
    MailFolder,
    MailOutcome,
    MailStatus,
    SmtpClient,
    SmtpServer,
    Tls,
)
from tests.integration.mail.certificates import make_certificate, server_context
from tests.integration.mail.servers import (
    PASSWORD,
    USER,
    Conversation,
    Postbox,
    check_login,
    crooked_server,
    smtp_server,
)

LOGIN = {"user": USER, "password": PASSWORD}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


def client(port: int, tls: Tls = Tls.OFFERED, **parts: Any) -> SmtpClient:
    """A client of the server on this port, patient enough for a busy machine."""
    seconds = parts.pop("timeout_seconds", 10.0)
    server = SmtpServer("127.0.0.1", port, tls, **parts)
    return SmtpClient(server, own_name="shop.example", timeout_seconds=seconds)


def a_mail(text: str = "Hello.\n") -> EmailMessage:
    mail = EmailMessage(policy=MAIL_POLICY)
    mail["From"], mail["To"] = "Shop <codes@shop.example>", "owner@home.example"
    mail["Subject"] = "Grüße"
    mail.set_content(text)
    return mail


def kinds(certificate: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Options of the server and of the client, by the kind of server."""
    context = server_context(certificate)
    trust = {"ca_file": certificate}
    authentication = {"authenticator": check_login, "auth_required": True}
    starttls = {"tls_context": context}
    return {
        "plain": ({}, {"tls": Tls.NEVER}),
        "plain, TLS not offered": ({}, {}),
        "STARTTLS offered": (starttls, trust),
        "STARTTLS required": (
            {**starttls, "require_starttls": True},
            {"tls": Tls.REQUIRED, **trust},
        ),
        "STARTTLS and login": (
            {**starttls, **authentication},
            {"tls": Tls.REQUIRED, **trust, **LOGIN},
        ),
        "TLS from the start": ({"implicit_tls": context}, {"tls": Tls.IMPLICIT, **trust}),
        "TLS from the start and login": (
            {"implicit_tls": context, "auth_require_tls": False, "authenticator": check_login},
            {"tls": Tls.IMPLICIT, **trust, **LOGIN},
        ),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        "plain, TLS not offered",
        "STARTTLS offered",
        "STARTTLS required",
        "STARTTLS and login",
        "TLS from the start",
        "TLS from the start and login",
    ],
)
def test_a_mail_reaches_every_kind_of_server(
    kind: str, certificate: Path, postbox: Postbox
) -> None:
    server_options, client_options = kinds(certificate)[kind]
    with smtp_server(postbox, **server_options) as port:
        sender = client(port, **client_options)
        assert sender.find_problem() is None
        outcome = sender.send(a_mail("A line.\n.\n..\nÜber alles.\n"))

    assert outcome.status is MailStatus.SENT
    [mail] = postbox.mails
    assert mail["Subject"] == "Grüße"
    assert mail.get_content().splitlines() == ["A line.", ".", "..", "Über alles."]
    [envelope] = postbox.envelopes
    assert envelope.mail_from == "codes@shop.example"
    assert envelope.rcpt_tos == ["owner@home.example"]
    assert postbox.logins == ["login" in kind]


def test_a_certificate_that_is_not_trusted_gets_no_mail(
    certificate: Path, postbox: Postbox
) -> None:
    context = server_context(certificate)
    with smtp_server(postbox, implicit_tls=context) as port:
        outcomes = [client(port, Tls.IMPLICIT).send(a_mail())]
    with smtp_server(postbox, tls_context=context) as port:
        outcomes.append(client(port).send(a_mail()))

    for outcome in outcomes:
        assert (outcome.status, outcome.is_outage) == (MailStatus.LATER, True)
        assert "not trusted" in outcome.reason
    assert postbox.mails == []


@pytest.mark.parametrize("tls", list(Tls))
def test_a_password_never_goes_in_clear(tls: Tls, postbox: Postbox) -> None:
    options = {"authenticator": check_login, "auth_require_tls": False}
    with smtp_server(postbox, **options) as port:
        outcome = client(port, tls, **LOGIN).send(a_mail())

    assert outcome.status is MailStatus.LATER
    assert postbox.mails == []


def test_a_wrong_password_is_told_without_it(certificate: Path, postbox: Postbox) -> None:
    options = {"authenticator": check_login, "tls_context": server_context(certificate)}
    with smtp_server(postbox, **options) as port:
        sender = client(port, Tls.REQUIRED, ca_file=certificate, user=USER, password="a wrong word")
        outcome = sender.send(a_mail())
        problem = sender.find_problem()

    assert outcome == MailOutcome(MailStatus.LATER, "login refused (535)", is_outage=True)
    assert problem == "login refused (535)"


def test_what_can_not_be_written_in_ascii_is_told(certificate: Path, postbox: Postbox) -> None:
    options = {"authenticator": check_login, "tls_context": server_context(certificate)}
    with smtp_server(postbox, **options) as port:
        login = {"user": USER, "password": "ein großes Wort"}
        problem = client(port, Tls.REQUIRED, ca_file=certificate, **login).find_problem()
    nowhere = SmtpServer("mail..example", 587, Tls.OFFERED)
    unnamed = SmtpClient(nowhere, own_name="shop.example", timeout_seconds=1.0)

    assert problem == unnamed.find_problem()
    assert "ASCII" in str(problem)
    assert unnamed.send(a_mail()).status is MailStatus.LATER


def test_a_server_that_lacks_what_is_required_gets_no_mail(postbox: Postbox) -> None:
    with smtp_server(postbox) as port:
        outcome = client(port, Tls.REQUIRED).send(a_mail())

    assert "lacks STARTTLS" in outcome.reason
    assert postbox.mails == []


@pytest.mark.parametrize(
    ("step", "answer", "status", "reason"),
    [
        ("rcpt_answer", "550 5.1.1 <owner@home.example> is unknown", MailStatus.REFUSED, "5.1.1"),
        ("rcpt_answer", "451 4.7.1 owner@home.example is greylisted", MailStatus.LATER, "4.7.1"),
        ("data_answer", "554 5.7.1 we don't like 123456", MailStatus.REFUSED, "554 5.7.1"),
        ("data_answer", "452 too much for owner@home.example", MailStatus.LATER, "452"),
    ],
)
def test_a_refusal_is_sorted_by_its_number_and_its_words_are_not_kept(
    step: str, answer: str, status: MailStatus, reason: str, postbox: Postbox
) -> None:
    setattr(postbox, step, answer)
    with smtp_server(postbox) as port:
        outcome = client(port).send(a_mail())

    assert (outcome.status, outcome.is_outage) == (status, False)
    assert reason in outcome.reason
    assert "owner" not in outcome.reason
    assert "123456" not in outcome.reason


def cut_before_the_mail(with_client: Conversation) -> None:
    with_client.take_recipient()
    with_client.hear()
    with_client.say("354 go on")


def cut_in_the_greeting(with_client: Conversation) -> None:
    with_client.say("220-wait")


def closing(with_client: Conversation) -> None:
    with_client.greet()
    with_client.hear()
    with_client.say("421 closing")


def busy(with_client: Conversation) -> None:
    with_client.say("554 too busy")


def nonsense(with_client: Conversation) -> None:
    with_client.take_recipient()
    with_client.hear()
    with_client.say("so long")
    with_client.hear()


def silent(with_client: Conversation) -> None:
    with_client.hear()


def stalled(with_client: Conversation) -> None:
    with_client.greet()
    with_client.hear()
    with_client.hear()


def refuse_sender(with_client: Conversation) -> None:
    with_client.greet()
    with_client.hear()
    with_client.say("550 who are you")
    with_client.hear()


@pytest.mark.parametrize(
    "behave",
    [
        cut_in_the_greeting,
        closing,
        busy,
        nonsense,
        silent,
        stalled,
        refuse_sender,
        Conversation.drip,
    ],
)
def test_o1_trouble_before_the_mail_is_over_is_an_outage_and_ends_in_time(
    behave: Callable[[Conversation], None],
) -> None:
    with crooked_server(behave) as port:
        outcome = client(port, timeout_seconds=0.5).send(a_mail())

    assert (outcome.status, outcome.is_outage) == (MailStatus.LATER, True)


def lose(with_client: Conversation) -> None:
    with_client.take_recipient()
    with_client.hear()
    with_client.say("354 go on")
    with_client.hear_mail()


def hang(with_client: Conversation) -> None:
    lose(with_client)
    with_client.hear()


def drip_at_the_end(with_client: Conversation) -> None:
    lose(with_client)
    with_client.drip()


def babble(with_client: Conversation) -> None:
    lose(with_client)
    with_client.say("what was that")
    with_client.hear()


@pytest.mark.parametrize("behave", [lose, hang, drip_at_the_end, babble])
def test_no_clear_answer_after_the_mail_leaves_it_unknown(
    behave: Callable[[Conversation], None],
) -> None:
    with crooked_server(behave) as port:
        outcome = client(port, timeout_seconds=0.5).send(a_mail())

    assert outcome.status is MailStatus.UNKNOWN
    assert outcome.may_have_arrived


def test_a_connection_lost_within_the_mail_has_not_delivered_it() -> None:
    """The mail is larger than what fits between the two, so the loss is noticed before its end."""
    with crooked_server(cut_before_the_mail) as port:
        outcome = client(port).send(a_mail("A long line.\n" * 1_000_000))

    assert (outcome.status, outcome.is_outage) == (MailStatus.LATER, True)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    outcome = client(port).send(a_mail())

    assert outcome == MailOutcome(MailStatus.LATER, "no answer (ConnectionRefusedError)", True)


def test_a_server_that_hangs_at_goodbye_keeps_nobody() -> None:
    released = threading.Event()

    def behave(with_client: Conversation) -> None:
        lose(with_client)
        with_client.say("250 OK")
        with_client.hear()
        released.wait(30)

    with crooked_server(behave) as port:
        outcome = client(port).send(a_mail())
        assert not released.is_set()
        released.set()

    assert outcome.status is MailStatus.SENT


def test_a_folder_keeps_mails_for_its_user_only(tmp_path: Path) -> None:
    folder = MailFolder(tmp_path / "a" / "mail")
    assert folder.find_problem() is None

    assert folder.send(a_mail()).status is MailStatus.SENT
    assert folder.send(a_mail()).status is MailStatus.SENT

    files = list((tmp_path / "a" / "mail").iterdir())
    assert len(files) == 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "a" / "mail").stat().st_mode & 0o777 == 0o700
    assert b"owner@home.example" in files[0].read_bytes()


def test_a_folder_that_can_not_be_made_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = MailFolder(tmp_path / "file" / "mail")

    assert folder.send(a_mail()).status is MailStatus.LATER
    assert "MAIL_DIRECTORY" in str(folder.find_problem())


def test_no_header_can_be_smuggled_in() -> None:
    mail = EmailMessage(policy=MAIL_POLICY)

    for name in ("To", "Subject", "From"):
        with pytest.raises(ValueError, match=r"linefeed|newline|CR or LF"):
            mail[name] = "owner@home.example\r\nBcc: thief@away.example"
