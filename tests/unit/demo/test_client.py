"""What the client makes of answers, on a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from demo.client import Accepted, PatchProofClient
from demo.errors import DemoError, RefusedError

ACCEPTED = Accepted.model_validate({"uid_tag_id": "04A1", "pendingId": "0123456789"})


class Answers(ThreadingHTTPServer):
    """Answers what the test prepared, the last one again and again; keeps the paths asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.prepared: list[tuple[int, bytes]] = []
        self.paths: list[str] = []

    def prepare(self, status: int, body: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.prepared.append((status, raw))


class _Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        queue = self.server.prepared
        status, body = queue.pop(0) if len(queue) > 1 else queue[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Tests print nothing."""


@pytest.fixture
def server() -> Iterator[Answers]:
    with Answers() as answers:
        thread = threading.Thread(target=answers.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield answers
        answers.shutdown()
        thread.join()


@pytest.fixture
def client(server: Answers) -> Iterator[PatchProofClient]:
    made = PatchProofClient(f"http://127.0.0.1:{server.server_port}/", "key")
    yield made
    made.close()


def pending(status: str, *, txid: str | None = None, error: str | None = None) -> dict[str, Any]:
    return {"id": "0123456789", "status": status, "txid": txid, "error": error, "more": 1}


def test_refusal_carries_status_code_and_words(client: PatchProofClient, server: Answers) -> None:
    server.prepare(409, {"code": "patch_moved", "message": "it has moved", "error": {}})
    with pytest.raises(RefusedError) as refused:
        client.verify("04A1")
    assert (refused.value.status, refused.value.code) == (409, "patch_moved")
    assert str(refused.value) == "the API answers 409 patch_moved: it has moved"


@pytest.mark.parametrize("body", [b"<html>502</html>", b"[]", b'"text"', b"{}", b""])
def test_refusal_that_is_no_error_body_is_still_one(
    client: PatchProofClient, server: Answers, body: bytes
) -> None:
    server.prepare(502, body)
    with pytest.raises(RefusedError) as refused:
        client.verify("04A1")
    assert (refused.value.status, refused.value.code) == (502, "unreadable")


def test_answer_of_another_shape_is_an_error(client: PatchProofClient, server: Answers) -> None:
    server.prepare(200, {"status": "authentic"})
    with pytest.raises(ValueError, match="record"):
        client.verify("04A1")


def test_waiting_ends_with_the_confirmed_txid(client: PatchProofClient, server: Answers) -> None:
    server.prepare(200, pending("pending"))
    server.prepare(200, pending("anchoring", txid="aa" * 32))
    server.prepare(200, pending("confirmed", txid="bb" * 32))
    assert client.wait_until_confirmed("transfer", ACCEPTED, seconds=5) == "bb" * 32
    assert server.paths == ["/v1/patches/pending/transfer/0123456789"] * 3


def test_failed_record_says_why(client: PatchProofClient, server: Answers) -> None:
    server.prepare(200, pending("failed", error="refused five times"))
    with pytest.raises(DemoError, match="04A1 failed: refused five times"):
        client.wait_until_confirmed("registration", ACCEPTED, seconds=5)


def test_waiting_has_an_end_and_says_what_for(client: PatchProofClient, server: Answers) -> None:
    server.prepare(200, pending("pending", error="the pool is empty"))
    with pytest.raises(DemoError, match="still pending after 0 seconds, it says: the pool is"):
        client.wait_until_confirmed("registration", ACCEPTED, seconds=0.1)


def test_uid_is_one_segment_of_the_path(client: PatchProofClient, server: Answers) -> None:
    server.prepare(200, {"events": []})
    client.list_custody("a/b ?#漢")
    assert server.paths == ["/v1/patches/a%2Fb%20%3F%23%E6%BC%A2/history"]


def test_closed_client_ends_waits_in_other_threads(
    client: PatchProofClient, server: Answers
) -> None:
    server.prepare(200, pending("pending"))
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            client.wait_until_confirmed("registration", ACCEPTED, seconds=60)
        except DemoError as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    client.close()
    thread.join(timeout=5)
    assert [str(error) for error in ended] == ["the run was given up"]
