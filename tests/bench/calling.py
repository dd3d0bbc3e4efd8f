"""Callers of HTTP that cost little themselves: requests as bytes on connections that stay open."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from tests.bench.measuring import Work

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
# Makes the next request.
Make = Callable[[], bytes]


@dataclass(frozen=True)
class Place:
    """Where a server listens; with a context it speaks TLS."""

    port: int
    context: ssl.SSLContext | None = None

    def connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context is None:
            return plain
        return self.context.wrap_socket(plain, server_hostname="127.0.0.1")


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request of HTTP/1.1 as it goes over the wire."""
    given = {"Host": "127.0.0.1", **headers}
    if body:
        given |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def calling(place: Place, make: Make, status: int, *, times: int, connections: int) -> Work:
    """Requests over so many connections at once, each opened once where the server lets it be.

    Fails where an answer has another status.
    """

    def work() -> int:
        share = times // connections
        with ThreadPoolExecutor(connections) as threads:
            list(threads.map(lambda _: _call(place, make, status, share), range(connections)))
        return share * connections

    return work


def _call(place: Place, make: Make, status: int, times: int) -> None:
    caller = _Caller(place)
    with closing(caller):
        for _ in range(times):
            head = caller.ask(make())
            assert head.startswith(b"HTTP/1.1 %d " % status), head


class _Caller:
    def __init__(self, place: Place) -> None:
        self._place = place
        self._open: Sequence[socket.socket] = ()

    def ask(self, sent: bytes) -> bytes:
        """Sends a request and reads its answer; answers the head."""
        if not self._open:
            self._open = [self._place.connect()]
        (connection,) = self._open
        connection.sendall(sent)
        received = b""
        while _END_OF_HEAD not in received:
            received += _receive(connection)
        head, _, body = received.partition(_END_OF_HEAD)
        head += b"\r\n"
        found = _LENGTH.search(head)
        assert found is not None, head
        missing = int(found[1]) - len(body)
        while missing > 0:
            missing -= len(_receive(connection))
        if _CLOSES.search(head):
            self.close()
        return head

    def close(self) -> None:
        for each in self._open:
            each.close()
        self._open = ()


def _receive(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    assert received, "the server has closed the connection"
    return received
