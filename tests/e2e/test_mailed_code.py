"""Whoever asks for a code finds it in the mail, as the running system sends it."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import requests

from tests.e2e.system import System
from tests.integration.mail.lab import code_in, read_mails
from tests.integration.tasks.workers import wait_for

ADDRESS = "first.owner@home.example"


def mails_to(address: str, folder: Path) -> list[EmailMessage]:
    """The mails that an address has got; other tests ask for codes here too."""
    return [mail for mail in read_mails(folder) if mail["X-Envelope-To"] == address]


def test_a_code_comes_by_mail_and_logs_in_once(system: System) -> None:
    base, folder = system.exports["BASE_URL"], Path(system.exports["MAIL_DIR"])

    asked = requests.post(
        f"{base}/v1/auth/request-verification", json={"identifier": ADDRESS}, timeout=30
    )
    assert asked.status_code == 200
    wait_for(lambda: bool(mails_to(ADDRESS, folder)), seconds=60)
    [mail] = mails_to(ADDRESS, folder)
    submit = {"identifier": ADDRESS, "code": code_in(mail)}
    given, again = (
        requests.post(f"{base}/v1/auth/submit-verification", json=submit, timeout=30)
        for _ in range(2)
    )

    assert given.status_code == 200
    assert given.json()["token"]
    assert (again.status_code, again.json()["reason"]) == (401, "NotFoundOrExpired")
