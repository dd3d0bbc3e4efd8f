"""The HTTP server on a real socket."""

import socket
import threading

import pytest

from devnet.chain.faults import ConnectionCutError
from devnet.chain.server import HttpServer


def application(environ, start_response):
    if environ["PATH_INFO"] == "/cut":
        raise ConnectionCutError
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "999")])
    return [environ["REQUEST_METHOD"].encode(), b" ", environ["PATH_INFO"].encode(), b" ", body]


@pytest.fixture
def connect():
    server = HttpServer("127.0.0.1", 0, application)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    sockets = []

    def connect():
        sockets.append(socket.create_connection(("127.0.0.1", server.port), timeout=5))
        return sockets[-1]

    yield connect
    for each in sockets:
        each.close()
    server.shutdown()
    thread.join()
    server.server_close()


def ask(connection, text):
    """Return the answer to a request: its head and its body."""
    connection.sendall(text.encode("latin-1"))
    with connection.makefile("rb") as file:
        lines = []
        while (line := file.readline()) not in (b"\r\n", b""):
            lines.append(line.decode().strip())
        length = next((int(each[16:]) for each in lines if each.startswith("Content-Length")), 0)
        return lines, file.read(length) if not text.startswith("HEAD") else b""


def test_connection_serves_many_requests(connect):
    connection = connect()
    for number in range(3):
        head, body = ask(connection, f"GET /a%20{number}?q=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head[0] == "HTTP/1.1 200 OK"
        assert body == f"GET /a {number} ".encode()
    head, body = ask(connection, "POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz")
    assert body == b"POST /b xyz"


def test_length_is_the_servers_to_tell(connect):
    head, _ = ask(connect(), "GET / HTTP/1.1\r\n\r\n")
    assert [each for each in head if each.startswith("Content-Length")] == ["Content-Length: 6"]


def test_client_may_ask_to_close(connect):
    connection = connect()
    head, _ = ask(connection, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert "Connection: close" in head
    assert connection.recv(10) == b""


def test_head_has_no_body(connect):
    connection = connect()
    head, _ = ask(connection, "HEAD / HTTP/1.1\r\n\r\n")
    assert head[0] == "HTTP/1.1 200 OK"
    assert ask(connection, "GET /next HTTP/1.1\r\n\r\n")[1] == b"GET /next "


def test_cut_closes_without_a_byte(connect):
    connection = connect()
    connection.sendall(b"GET /cut HTTP/1.1\r\n\r\n")
    assert connection.recv(10) == b""


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nContent-Length: two\r\n\r\n", "400"),
        (f"GET / HTTP/1.1\r\nContent-Length: {'9' * 5000}\r\n\r\n", "413"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411"),
        ("GET / HTTP/7.0\r\n\r\n", "505"),
        ("nonsense and more of it\r\n\r\n", "400"),
        (f"GET /{'x' * 70_000} HTTP/1.1\r\n\r\n", "414"),
    ],
)
def test_broken_requests_are_refused(connect, request_text, status):
    head, _ = ask(connect(), request_text)
    assert head[0].split()[1] == status


def test_half_a_body_ends_the_connection(connect):
    connection = connect()
    connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(10) == b""
