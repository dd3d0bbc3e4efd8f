"""A real HTTP server on loopback that answers prepared bytes, for shapes no real part gives."""

import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WEB_PAGE = b"<html><body><h1>Service temporarily unavailable</h1></body></html>"


@dataclass(frozen=True)
class Reply:
    """One prepared answer.

    `delay_seconds` passes before it, `drip_seconds` before each of its bytes; `is_cut` closes
    the connection without it; `missing_bytes` are promised in Content-Length and never sent.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    drip_seconds: float = 0.0
    is_cut: bool = False
    missing_bytes: int = 0


def json_reply(value: Any, status: int = 200) -> Reply:
    """Return an answer with a JSON body."""
    return Reply(json.dumps(value).encode(), status)


@dataclass(frozen=True)
class SeenRequest:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    client_port: int

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class ScriptedServer:
    """Gives its prepared answers in order, the last one again and again."""

    def __init__(self) -> None:
        self.seen: list[SeenRequest] = []
        self._replies: deque[Reply] = deque()
        self._lock = threading.Lock()
        self._server = _Listener(("127.0.0.1", 0), _Connection)
        self._server.script = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def prepare(self, *replies: Reply) -> None:
        """Replace what is left of the prepared answers."""
        with self._lock:
            self._replies = deque(replies)

    def take(self, request: SeenRequest) -> Reply:
        """Record a request and return its answer."""
        with self._lock:
            self.seen.append(request)
            return self._replies.popleft() if len(self._replies) > 1 else self._replies[0]

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Listener(ThreadingHTTPServer):
    """The listening socket, with the script that its connections follow."""

    daemon_threads = True
    script: ScriptedServer


class _Connection(BaseHTTPRequestHandler):
    """One connection, kept alive."""

    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base
        """Keep the test output clean."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        port = self.client_address[1]
        reply = self.server.script.take(
            SeenRequest(self.command, self.path, dict(self.headers), body, port)
        )
        time.sleep(reply.delay_seconds)
        if reply.is_cut:
            self.close_connection = True
            return
        try:
            self._send(reply)
        except ConnectionError:
            self.close_connection = True

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body) + reply.missing_bytes))
        self.end_headers()
        if not reply.drip_seconds:
            self.wfile.write(reply.body)
        for byte in reply.body if reply.drip_seconds else b"":
            self.wfile.write(bytes([byte]))
            time.sleep(reply.drip_seconds)
        self.close_connection = bool(reply.missing_bytes)
