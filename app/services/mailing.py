"""Mails made from templates, in text and HTML, and handed to whatever sends mails here."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from app import extensions
from app.clients.mail import MAIL_POLICY, MailClient, MailOutcome
from app.domain.clock import utc_now
from app.domain.emails import parse_sender
from app.errors import MailNotConfiguredError

_TEMPLATES = Path(__file__).resolve().parents[1] / "templates" / "mail"


def check_configured() -> None:
    """Lets nobody promise a mail that can't be sent.

    Raises:
        MailNotConfiguredError: there is no mail server.
    """
    _client()


def find_problem() -> str | None:
    """Asks the mail server whether it would take mails; None when it would."""
    try:
        return _client().find_problem()
    except MailNotConfiguredError as error:
        return error.message


def send(template: str, *, to: str, subject: str, name: str, **values: object) -> MailOutcome:
    """Tries once to send a mail made from `<template>.txt` and `<template>.html`.

    `to` is an address as `normalise_email` spells it; `name` makes the mail's id, so that a mail
    server's log can be compared with ours. Templates see `values` and the `brand`.

    Raises:
        MailNotConfiguredError: there is no mail server.
    """
    client = _client()
    settings = extensions.get().settings
    sender = parse_sender(settings.sender)
    mail = EmailMessage(policy=MAIL_POLICY)
    mail["From"] = Address(sender.display_name or settings.brand_name, addr_spec=sender.addr_spec)
    mail["To"] = Address(addr_spec=to)
    mail["Subject"] = subject
    mail["Date"] = format_datetime(utc_now())
    mail["Message-ID"] = f"<{name}@{sender.domain}>"
    # RFC 3834: nobody's absence is to be answered to us.
    mail["Auto-Submitted"] = "auto-generated"
    values = {"brand": settings.brand_name, **values}
    mail.set_content(_environment().get_template(f"{template}.txt").render(values))
    mail.add_alternative(
        _environment().get_template(f"{template}.html").render(values), subtype="html"
    )
    return client.send(mail)


def _client() -> MailClient:
    client = extensions.get().mail
    if client is None:
        raise MailNotConfiguredError("this service can't send mail: it has no SMTP_HOST")
    return client


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
