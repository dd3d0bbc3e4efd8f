"""Mail: over SMTP to any server, or into a folder while nothing real is to be sent.

The conversation is driven step by step, since everything depends on where it ended: before the
last line of the mail the server can't have taken it, after that it may have. No text of a server
is passed on: servers quote addresses, and some the mail itself.
"""

import os
import re
import secrets
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from app.clients.circuit import Circuit, CircuitState
from app.clients.outcomes import AuthenticationRefusedError, ServiceUnavailableError

SERVICE = "mail"
# Seven bits and CRLF: every server takes it.
MAIL_POLICY = policy.SMTP.clone(cte_type="7bit")
# One mail may take so many timeouts in all, however slowly the server drips.
LIMIT_IN_TIMEOUTS = 3
_QUIT_SECONDS = 1.0
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)
_ENHANCED_STATUS = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}\b")
_CLOSING = 421


class MailStatus(StrEnum):
    """What became of a mail; what follows from it is the caller's business."""

    SENT = "sent"
    REFUSED = "refused"
    LATER = "later"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class MailOutcome:
    """One try to send one mail.

    REFUSED: the server will never take it for this recipient. LATER: it was certainly not taken,
    and may be another time. UNKNOWN: the connection was lost after the last line. `is_outage` says
    of LATER that the server itself is in trouble, whoever the mail is for.
    """

    status: MailStatus
    reason: str
    is_outage: bool = False

    @property
    def may_have_arrived(self) -> bool:
        return self.status in (MailStatus.SENT, MailStatus.UNKNOWN)


class MailClient(Protocol):
    """Sends mails that are complete: `From`, `To` and everything else."""

    def send(self, mail: EmailMessage) -> MailOutcome:
        """Try once to send a mail to its one recipient; never raises for the server."""

    def find_problem(self) -> str | None:
        """Answer what keeps mails from being sent, None where nothing does; sends none."""


class Tls(StrEnum):
    """When a connection becomes TLS. `OFFERED` takes STARTTLS where it is offered."""

    IMPLICIT = "implicit"
    REQUIRED = "required"
    OFFERED = "offered"
    NEVER = "never"


@dataclass(frozen=True)
class SmtpServer:
    """Where mails go. A password goes over TLS only, whatever `tls` says."""

    host: str
    port: int
    tls: Tls
    user: str | None = None
    password: str | None = None
    ca_file: Path | None = None


class SmtpClient:
    """Sends through one SMTP server, with a connection of its own for each mail."""

    def __init__(self, server: SmtpServer, *, own_name: str, timeout_seconds: float) -> None:
        """`own_name` is the host name that the server is greeted with."""
        self._server = server
        self._own_name = own_name
        self._timeout_seconds = timeout_seconds

    def send(self, mail: EmailMessage) -> MailOutcome:
        """Try once; a LATER or REFUSED mail was certainly not taken."""
        try:
            session = self._open()
        except ServiceUnavailableError as error:
            return MailOutcome(MailStatus.LATER, error.reason, is_outage=True)
        with _leaving(session):
            return _hand_over(session, mail)

    def find_problem(self) -> str | None:
        """Connect and log in, and leave again."""
        try:
            session = self._open()
        except ServiceUnavailableError as error:
            return error.reason
        with _leaving(session):
            return None

    def _open(self) -> "_Session":
        session: _Session | None = None
        try:
            session = _Session(self._server, self._own_name, self._timeout_seconds)
            session.prepare(self._server)
        # A ValueError is a host or a password that can't be written in ASCII.
        except (OSError, smtplib.SMTPException, ValueError) as error:
            if session is not None:
                session.close()
            # Its text may quote the user's name.
            raise _unavailable(error) from None
        return session


class GuardedMail:
    """Leaves the server alone for a while after some failures in a row.

    One that hangs would keep everybody waiting who has a mail to send.
    """

    def __init__(self, client: MailClient, circuit: Circuit) -> None:
        self._client = client
        self._circuit = circuit

    def send(self, mail: EmailMessage) -> MailOutcome:
        """Try once, unless the server is left alone."""
        if not self._circuit.admit():
            return MailOutcome(MailStatus.LATER, "left alone after repeated failures", True)
        outcome = self._client.send(mail)
        if outcome.is_outage:
            self._circuit.fail(outcome.reason)
        else:
            self._circuit.succeed()
        return outcome

    def circuit_state(self) -> CircuitState:
        """Return where its circuit stands."""
        return self._circuit.state()

    def find_problem(self) -> str | None:
        """Ask the server, left alone or not."""
        return self._client.find_problem()


class MailFolder:
    """Writes mails as files that only this user may read, and sends none."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def send(self, mail: EmailMessage) -> MailOutcome:
        """Write one `.eml`, complete before it is seen under its name."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}.eml"
        unfinished = self._directory / f".{name}"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(mail.as_bytes(policy=MAIL_POLICY))
            unfinished.rename(self._directory / name)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            return MailOutcome(MailStatus.LATER, _folder_words(error), is_outage=True)
        return MailOutcome(MailStatus.SENT, "kept in the folder")

    def find_problem(self) -> str | None:
        """Look whether the folder can be written to, or made."""
        paths = (self._directory, *self._directory.absolute().parents)
        nearest = next(path for path in paths if path.exists())
        if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
            return None
        return "MAIL_DIRECTORY can't be written to"


class _Session(smtplib.SMTP):
    """A connection that ends at its deadline, whatever the server does."""

    def __init__(self, server: SmtpServer, own_name: str, timeout_seconds: float) -> None:
        self._context = (
            None if server.tls is Tls.NEVER else ssl.create_default_context(cafile=server.ca_file)
        )
        self._is_implicit = server.tls is Tls.IMPLICIT
        self._deadline: _Deadline | None = None
        super().__init__(server.host, server.port, own_name, timeout_seconds)

    def prepare(self, server: SmtpServer) -> None:
        """Make the connection as safe as it has to be, and log in."""
        self.ehlo_or_helo_if_needed()
        if server.tls is Tls.REQUIRED or (server.tls is Tls.OFFERED and self.has_extn("starttls")):
            self.starttls(context=self._context)
            self.ehlo()
        if server.user is None or server.password is None:
            return
        if not isinstance(self.sock, ssl.SSLSocket):
            raise smtplib.SMTPNotSupportedError("a password never goes in clear")
        self.login(server.user, server.password)

    def close(self) -> None:
        """Close the connection; may be called again."""
        super().close()
        if self._deadline is not None:
            self._deadline.cancel()

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        connection = socket.create_connection((host, port), timeout)
        self._deadline = _Deadline(connection, timeout * LIMIT_IN_TIMEOUTS)
        if not self._is_implicit or self._context is None:
            return connection
        try:
            return self._context.wrap_socket(connection, server_hostname=host)
        except OSError:
            connection.close()
            self._deadline.cancel()
            raise


class _Deadline:
    """Ends a connection after some seconds; each silence alone may be short enough for ever.

    It holds a second handle of the connection, which stays good when TLS replaces the first.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection.dup()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Leave the connection alone; may be called again."""
        self._timer.cancel()
        self._timer.join()
        self._connection.close()

    def _end(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def _leaving(session: _Session) -> Iterator[None]:
    """Say goodbye at the end; nobody waits for the answer, since everything is decided."""
    try:
        yield
        with suppress(OSError, smtplib.SMTPException):
            if session.sock is not None:
                session.sock.settimeout(_QUIT_SECONDS)
                session.quit()
    finally:
        session.close()


def _hand_over(session: _Session, mail: EmailMessage) -> MailOutcome:
    sender, recipient = _address(mail, "From"), _address(mail, "To")
    steps = (
        ("MAIL", f"FROM:<{sender}>", (250,)),
        ("RCPT", f"TO:<{recipient}>", (250, 251)),
        ("DATA", "", (354,)),
    )
    is_complete = False
    try:
        for verb, words, wanted in steps:
            reply = _Reply(verb, *session.docmd(verb, words))
            if reply.status not in wanted:
                return reply.refusal()
        session.send(_LEADING_DOT.sub(b"..", mail.as_bytes(policy=MAIL_POLICY)))
        # The server may take the mail once it has this line, and not before.
        is_complete = True
        session.send(b".\r\n")
        return _Reply("the mail", *session.getreply()).verdict()
    except (OSError, smtplib.SMTPException):
        if is_complete:
            return MailOutcome(MailStatus.UNKNOWN, "the connection was lost after the mail")
        return MailOutcome(MailStatus.LATER, "the connection was lost before the mail", True)


@dataclass(frozen=True)
class _Reply:
    """A server's answer to one step."""

    step: str
    status: int
    words: bytes

    @property
    def text(self) -> str:
        enhanced = _ENHANCED_STATUS.match(self.words)
        more = f" {enhanced[0].decode()}" if enhanced else ""
        return f"{self.step} was answered with {self.status}{more}"

    def verdict(self) -> MailOutcome:
        """Sort the answer to the whole mail."""
        if 200 <= self.status < 300:
            return MailOutcome(MailStatus.SENT, self.text)
        if self.status < 400:
            return MailOutcome(MailStatus.UNKNOWN, self.text)
        return self.refusal()

    def refusal(self) -> MailOutcome:
        """Sort an answer that is not the wanted one."""
        if self.status >= 500 and self.step != "MAIL":
            return MailOutcome(MailStatus.REFUSED, self.text)
        # Before any recipient was named, it is not about one.
        is_outage = self.step == "MAIL" or self.status in (_CLOSING, -1)
        return MailOutcome(MailStatus.LATER, self.text, is_outage)


def _address(mail: EmailMessage, header: str) -> str:
    addresses: tuple[Address, ...] = mail[header].addresses
    [address] = addresses
    return address.addr_spec


def _unavailable(error: Exception) -> ServiceUnavailableError:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return AuthenticationRefusedError(SERVICE, f"login refused ({error.smtp_code})")
    return ServiceUnavailableError(SERVICE, _words(error))


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted ({error.verify_message})"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the server answered {error.smtp_code}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "the server lacks STARTTLS or AUTH, which its settings ask for"
    if isinstance(error, UnicodeError):
        return "SMTP_HOST, SMTP_USER or SMTP_PASS can't be written in ASCII"
    return f"no answer ({type(error).__name__})"


def _folder_words(error: OSError) -> str:
    return f"MAIL_DIRECTORY can't be written to ({type(error).__name__})"
