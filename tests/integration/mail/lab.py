"""The services of one process, the devnet's mail sink, and what a reader of mail does."""

from __future__ import annotations

import re
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from app import extensions
from app.config import Settings
from app.models.verification_code import VerificationCode
from app.services import code_delivery, codes
from tests.integration.services.lab import Lab

ADDRESS = "owner@home.example"
_TIMES = ("next_attempt_at", "requested_at", "expires_at")
# Cheap to compare, and no limit of routes stands in the way of what lies behind them.
CALM = {
    "VERIFY_CODE_SALT_ROUNDS": "4",
    "AUTH_ADDRESS_MAX": "100000",
    "AUTH_REQUEST_MAX": "100000",
    "AUTH_SUBMIT_MAX": "100000",
    "AUTH_SUBMIT_IDENTIFIER_MAX": "100000",
}


class MailLab(Lab):
    """What a test does to mailed codes and to the world around them."""

    def configure(self, **settings: str) -> Settings:
        """Starts the services anew with these settings above the devnet's own."""
        return super().configure(**{**CALM, **settings})

    def mails(self) -> list[EmailMessage]:
        """What has arrived in the sink, the oldest first."""
        return read_mails(Path(self.env["MAIL_DIR"]))

    def codes_mailed(self) -> list[str]:
        return [code_in(mail) for mail in self.mails()]

    def mailed_code(self, address: str = ADDRESS) -> str:
        """Asks for a code and has it sent; answers it."""
        before = len(self.mails())
        codes.request(address)
        code_delivery.sweep()
        mails = self.mails()
        assert len(mails) == before + 1
        return code_in(mails[-1])

    def row(self, address: str = ADDRESS) -> VerificationCode:
        """What is stored for an address."""
        found = VerificationCode.find_by_identifier(address)
        assert found is not None
        return found

    def pass_time(self, seconds: float = 3600) -> None:
        """Lets time pass for what is stored."""
        rows = self.collection("verification_codes")
        for row in rows.find({}, dict.fromkeys(_TIMES, 1)):
            earlier = {
                name: row[name] - timedelta(seconds=seconds) for name in _TIMES if row.get(name)
            }
            rows.update_one({"_id": row["_id"]}, {"$set": earlier})

    def pass_pause(self) -> None:
        """Lets the pause before the next try pass, whatever it was, and nothing else."""
        rows = self.collection("verification_codes")
        now_due = {"$set": {"next_attempt_at": self.row().requested_at}}
        rows.update_many({"next_attempt_at": {"$ne": None}}, now_due)

    def stored_anywhere(self) -> str:
        """The text of every key of Redis and of every document."""
        current = extensions.get()
        names = current.database[current.settings.db_name].list_collection_names()
        documents = [row for name in names for row in self.collection(name).find({})]
        return repr([*_everything(current.redis), *documents])


def _everything(redis: Any) -> list[Any]:
    readers = {
        "string": redis.get,
        "list": lambda key: redis.lrange(key, 0, -1),
        "hash": redis.hgetall,
        "set": redis.smembers,
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
    }
    return [(key, readers[redis.type(key)](key)) for key in redis.scan_iter("*")]


def read_mails(directory: Path) -> list[EmailMessage]:
    """The mails in a folder, the oldest first."""
    mails = []
    for path in sorted(directory.glob("*.eml")):
        mail = message_from_bytes(path.read_bytes(), policy=policy.default)
        assert isinstance(mail, EmailMessage)
        mails.append(mail)
    return mails


def code_in(mail: EmailMessage) -> str:
    """The code that a reader sees; text and HTML show the same."""
    text, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert page is not None
    found = {_SIX_DIGITS.search(part.get_content()) for part in (text, page)}
    [code] = {match[0] for match in found if match}
    return code


_SIX_DIGITS = re.compile(r"\b[1-9]\d{5}\b")
