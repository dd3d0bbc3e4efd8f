"""Mail servers on loopback: real ones of each kind, and one that does what a test tells it."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER = "shop"
PASSWORD = "a long word for mail"


class Postbox:
    """Takes mails, unless it is told to answer otherwise."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.logins: list[bool] = []
        self.rcpt_answer = ""
        self.data_answer = ""
        self._pauses: str | None = None
        self._reached = threading.Event()
        self._released = threading.Event()

    def pause(self, *, after_the_mail: bool = False) -> None:
        """Stops the next conversation before its mail is taken, or before it is told so."""
        self._pauses = "after" if after_the_mail else "before"

    def wait_until_reached(self) -> None:
        """Returns when a conversation has stopped."""
        assert self._reached.wait(60)

    def release(self) -> None:
        """Lets it go on."""
        self._released.set()

    async def _pause(self, where: str) -> None:
        if self._pauses == where:
            self._pauses = None
            self._reached.set()
            await asyncio.to_thread(self._released.wait, 60)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it by this name
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        """Take the recipient."""
        if self.rcpt_answer:
            return self.rcpt_answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Take the mail."""
        if self.data_answer:
            return self.data_answer
        await self._pause("before")
        self.envelopes.append(envelope)
        self.logins.append(bool(session.authenticated))
        content = envelope.content or b""
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        await self._pause("after")
        return "250 OK"


def check_login(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: LoginPassword
) -> AuthResult:
    """Let the one user in."""
    is_right = (login.login, login.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=is_right, handled=False)


@contextmanager
def smtp_server(
    postbox: Postbox, *, implicit_tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[int]:
    """Runs an SMTP server in a thread; answers its port. `options` are aiosmtpd's."""
    # It tells of each line that it hears.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    loop = asyncio.new_event_loop()

    def protocol() -> SMTP:
        return SMTP(postbox, hostname="mail.example", loop=loop, **options)

    server = loop.run_until_complete(loop.create_server(protocol, "127.0.0.1", 0, ssl=implicit_tls))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()


async def _cancel_all() -> None:
    """Ends the conversations that are still open."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    # Transports close in a later turn of the loop.
    for _ in range(5):
        await asyncio.sleep(0)


class Conversation:
    """The server's side of one connection, in the hands of a test."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    def say(self, text: str) -> None:
        self._connection.sendall(f"{text}\r\n".encode())

    def hear(self) -> str:
        """The client's next line, empty when it has gone."""
        return self._lines.readline().decode().strip()

    def hear_mail(self) -> list[str]:
        """The lines of a mail, up to the dot that ends it."""
        lines: list[str] = []
        while raw := self._lines.readline():
            if raw == b".\r\n":
                break
            lines.append(raw.decode().rstrip("\r\n"))
        return lines

    def greet(self) -> None:
        """Comes as far as the recipient."""
        self.say("220 mail.example")
        self.hear()
        self.say("250 mail.example")

    def take_recipient(self) -> None:
        """Comes as far as DATA."""
        self.greet()
        for _ in range(2):
            self.hear()
            self.say("250 OK")

    def drip(self) -> None:
        """Sends a byte now and then, for ever."""
        pause = threading.Event()
        while not pause.wait(0.05):
            self._connection.sendall(b"x")

    def close(self) -> None:
        self._lines.close()
        self._connection.close()


@contextmanager
def crooked_server(behave: Callable[[Conversation], None]) -> Iterator[int]:
    """Runs a server that behaves so towards each of its clients; answers its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        conversation = Conversation(connection)
        with suppress(OSError):
            behave(conversation)
        conversation.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                thread = threading.Thread(target=serve, args=(listener.accept()[0],))
                threads.append(thread)
                thread.start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [acceptor, *threads]:
            thread.join(timeout=30)
