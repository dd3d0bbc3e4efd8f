"""What a server can't do without: an answer that is always the same, by a socket and by WSGI."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY = b'{"status":"ok"}\n'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answers every request with the same bytes."""
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))]
    )
    return [BODY]


def serve(port: int) -> None:
    """Answers on sockets, a thread each, whatever comes up to an empty line."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            Thread(target=_answer_all, args=(listener.accept()[0],), daemon=True).start()


def _answer_all(connection: socket.socket) -> None:
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting = b""
        while received := connection.recv(65536):
            waiting += received
            if waiting.endswith(b"\r\n\r\n"):
                waiting = b""
                connection.sendall(_ANSWER)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
