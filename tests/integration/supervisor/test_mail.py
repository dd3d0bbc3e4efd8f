"""The SMTP server that keeps mails."""

from __future__ import annotations

import smtplib
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from devnet.supervisor import Devnet


def test_mails_are_kept_as_files(own_devnet: Devnet) -> None:
    own_devnet.up(["mail"])
    env = own_devnet.env
    with smtplib.SMTP(env["SMTP_HOST"], int(env["SMTP_PORT"]), timeout=5) as client:
        for code in ("123456", "654321"):
            mail = EmailMessage()
            mail["From"], mail["To"] = "shop@example.com", "owner@example.com"
            mail["Subject"] = "Your code, bitte schön"
            mail.set_content(f"Your code is {code}.\n.\nA line that is a dot.\n")
            client.send_message(mail)

    files = sorted(Path(env["MAIL_DIR"]).glob("*.eml"))
    kept = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    assert [mail["Subject"] for mail in kept] == ["Your code, bitte schön"] * 2
    assert [mail["X-Envelope-To"] for mail in kept] == ["owner@example.com"] * 2
    bodies = [mail.get_body().get_content() for mail in kept]
    assert bodies[1].splitlines() == ["Your code is 654321.", ".", "A line that is a dot."]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
