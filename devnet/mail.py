"""An SMTP server for development that keeps every mail as a file and sends none."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import click
from aiosmtpd.smtp import SMTP, Envelope, Session

ACCEPTED = "250 Message accepted for delivery"


class MailFiles:
    """Writes each mail to `<UTC time>-<number>.eml`, complete before it is seen."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = count(1)

    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it by this name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Keep the mail with its sender and recipients as headers of their own."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{next(self._numbers):06d}.eml"
        unfinished = self.directory / f".{name}"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_envelope_headers(envelope) + _content(envelope))
        unfinished.rename(self.directory / name)
        return ACCEPTED


def _envelope_headers(envelope: Envelope) -> bytes:
    recipients = ", ".join(envelope.rcpt_tos)
    text = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {recipients}\r\n"
    return text.encode("utf-8")


def _content(envelope: Envelope) -> bytes:
    content = envelope.content or b""
    return content.encode("utf-8") if isinstance(content, str) else content


async def serve(port: int, directory: Path) -> None:
    """Accept mails on the loopback interface until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    handler = MailFiles(directory)
    server = await loop.create_server(lambda: SMTP(handler, loop=loop), "127.0.0.1", port)
    async with server:
        await stopped.wait()


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="TCP port on loopback.")
@click.option("--directory", type=click.Path(path_type=Path), required=True, help="Mails go here.")
def main(port: int, directory: Path) -> None:
    """Keep every mail sent to 127.0.0.1:PORT as a file in DIRECTORY."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    asyncio.run(serve(port, directory))


if __name__ == "__main__":
    main(prog_name="python -m devnet.mail")
