"""A small HTTP/1.1 server for one WSGI application: keep-alive, one thread a connection.

It can do what the usual servers can't: close a connection instead of answering it.
"""

import io
import logging
import sys
from collections.abc import Iterable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from devnet.chain.faults import ConnectionCutError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

MAX_BODY_BYTES = 32_000_000
_IDLE_SECONDS = 75
_LOG = logging.getLogger(__name__)


class HttpServer(ThreadingHTTPServer):
    """Listens on one address; every connection gets a thread that dies with the process."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, host: str, port: int, application: "WSGIApplication") -> None:
        self.application = application
        super().__init__((host, port), _Connection)

    @property
    def port(self) -> int:
        """The port in use, also where port 0 left the choice to the system."""
        return int(self.server_address[1])

    def handle_error(self, *connection: Any) -> None:
        """Leave clients that hang up out of the log."""
        if not isinstance(sys.exc_info()[1], OSError):
            _LOG.exception("The connection of %s failed.", connection[-1])


class _Answer:
    """What the application says: the `start_response` of PEP 3333, and the body."""

    def __init__(self) -> None:
        self.status = "500 Internal Server Error"
        self.headers: list[tuple[str, str]] = []
        self._written: list[bytes] = []

    def start(
        self,
        status: str,
        headers: list[tuple[str, str]],
        _error: tuple[type[BaseException], BaseException, TracebackType] | Any = None,
        /,
    ) -> Any:
        self.status, self.headers = status, headers
        return self._written.append

    def run(self, application: "WSGIApplication", environ: "WSGIEnvironment") -> bytes:
        parts: Iterable[bytes] = application(environ, self.start)
        try:
            return b"".join((*self._written, *parts))
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()


class _Connection(BaseHTTPRequestHandler):
    """Reads requests off one connection and hands each to the application."""

    server: HttpServer
    headers: Message
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # so that a refusal of nonsense has a status line
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        """Answer one request, or close the connection."""
        self.close_connection = True
        try:
            self.raw_requestline = self.rfile.readline(65_537)
        except TimeoutError:
            return
        if len(self.raw_requestline) > 65_536:
            self.requestline, self.request_version, self.command = "", "", ""
            self.send_error(414)
        elif self.raw_requestline and self.parse_request():
            self._answer()

    def _answer(self) -> None:
        body = self._read_body()
        if body is None:
            return
        answer = _Answer()
        try:
            content = answer.run(self.server.application, self._environ(body))
        except ConnectionCutError:
            self.close_connection = True
            return
        self._send(answer, content)

    def _read_body(self) -> bytes | None:
        """Return the body, None once it has been refused."""
        length = self.headers.get("Content-Length", "0")
        refusal = None
        if "Transfer-Encoding" in self.headers:
            refusal = 411
        elif not (length.isascii() and length.isdigit()):
            refusal = 400
        elif len(length) > 12 or int(length) > MAX_BODY_BYTES:
            refusal = 413
        if refusal is not None:
            self.close_connection = True
            self.send_error(refusal)
            return None
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else None

    def _environ(self, body: bytes) -> "WSGIEnvironment":
        path, _, query = self.path.partition("?")
        environ: WSGIEnvironment = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": str(self.server.server_address[0]),
            "SERVER_PORT": str(self.server.port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        return environ

    def _send(self, answer: _Answer, content: bytes) -> None:
        lines = [f"HTTP/1.1 {answer.status}"]
        lines += [f"{name}: {value}" for name, value in answer.headers if _is_free(name)]
        lines.append(f"Content-Length: {len(content)}")
        if self.close_connection:
            lines.append("Connection: close")
        head = "\r\n".join((*lines, "", "")).encode("latin-1")
        # One write, so that the answer leaves in one packet where it fits.
        self.wfile.write(head if self.command == "HEAD" else head + content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keep quiet: a devnet answers thousands of requests that nobody reads about."""


def _is_free(name: str) -> bool:
    """Tell whether a header is the application's to set."""
    return name.lower() not in ("content-length", "connection")
