"""HTTP trouble as it comes over a real socket."""

import dataclasses
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.clients.outcomes import (
    AuthenticationRefusedError,
    ServiceUnavailableError,
    UnexpectedAnswerError,
)
from app.clients.transport import (
    MAX_ANSWER_BYTES,
    CallPolicy,
    HttpTransport,
    NoAnswerError,
    parse_json,
)
from tests.integration.clients.scripted_server import WEB_PAGE, Reply, ScriptedServer

POLICY = CallPolicy(attempts=3, timeout_seconds=5.0, budget_seconds=20.0, first_delay_seconds=0.2)
ROOT = Path(__file__).resolve().parents[3]
KEY = "mainnet_0123456789abcdef0123456789abcdef"


@pytest.fixture
def transport(scripted: ScriptedServer, sleep: Callable[[float], None]) -> Iterator[HttpTransport]:
    """Yield a transport to the scripted server that never really sleeps."""
    made = HttpTransport(
        "test service",
        scripted.url + "/",
        policy=POLICY,
        auth_headers={"Authorization": KEY},
        sleep=sleep,
        random_unit=lambda: 0.5,
    )
    yield made
    made.close()


@pytest.fixture
def hasty(scripted: ScriptedServer, sleep: Callable[[float], None]) -> Iterator[HttpTransport]:
    """Yield a transport that waits for a second only."""
    policy = dataclasses.replace(POLICY, timeout_seconds=1.0)
    made = HttpTransport("test service", scripted.url, policy=policy, sleep=sleep)
    yield made
    made.close()


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(b"busy", 503),
        Reply(WEB_PAGE, 502),
        Reply(b"slow down", 429),
        Reply(is_cut=True),
        Reply(b"abc", missing_bytes=5),
    ],
)
def test_a_read_is_made_again_until_it_is_answered(
    scripted: ScriptedServer, transport: HttpTransport, pauses: list[float], trouble: Reply
) -> None:
    scripted.prepare(trouble, trouble, Reply(b"here"))

    assert transport.call("GET", "/thing").text == "here"
    assert len(scripted.seen) == 3
    assert pauses == [pytest.approx(0.1), pytest.approx(0.2)]


def test_a_read_that_takes_too_long_is_made_again(
    scripted: ScriptedServer, hasty: HttpTransport
) -> None:
    scripted.prepare(Reply(b"late", delay_seconds=3.0), Reply(b"here"))

    assert hasty.call("GET", "/thing").text == "here"


def test_tries_are_bounded(
    scripted: ScriptedServer, transport: HttpTransport, pauses: list[float]
) -> None:
    scripted.prepare(Reply(b"busy", 503))

    with pytest.raises(ServiceUnavailableError, match="answered 503"):
        transport.call("GET", "/thing")
    assert (len(scripted.seen), len(pauses)) == (3, 2)


def test_a_single_send_is_never_repeated(
    scripted: ScriptedServer, transport: HttpTransport, pauses: list[float]
) -> None:
    scripted.prepare(Reply(is_cut=True))

    with pytest.raises(NoAnswerError):
        transport.send_once("POST", "/tx/raw", json_body={})
    assert (len(scripted.seen), pauses) == (1, [])


def test_the_wish_of_the_service_is_honoured_within_the_budget(
    scripted: ScriptedServer, transport: HttpTransport, pauses: list[float]
) -> None:
    scripted.prepare(Reply(b"", 429, {"Retry-After": "2"}), Reply(b"here"))

    assert transport.call("GET", "/thing").text == "here"
    assert pauses == [2.0]


def test_a_wish_beyond_the_budget_ends_the_call_and_is_passed_on(
    scripted: ScriptedServer, transport: HttpTransport, pauses: list[float]
) -> None:
    scripted.prepare(Reply(b"", 429, {"Retry-After": "60"}))

    with pytest.raises(ServiceUnavailableError) as caught:
        transport.call("GET", "/thing")
    assert caught.value.retry_after_seconds == 60.0
    assert (len(scripted.seen), pauses) == (1, [])


@pytest.mark.parametrize("wish", ["soon", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT", "\u0663"])
def test_an_odd_wish_is_no_wish(
    scripted: ScriptedServer, transport: HttpTransport, pauses: list[float], wish: str
) -> None:
    scripted.prepare(
        Reply(b"", 429, {"Retry-After": wish.encode().decode("latin-1")}), Reply(b"here")
    )

    assert transport.call("GET", "/thing").text == "here"
    assert pauses == [pytest.approx(0.1)]


def test_o14_all_tries_together_stay_within_the_budget(scripted: ScriptedServer) -> None:
    policy = CallPolicy(
        attempts=3, timeout_seconds=15.0, budget_seconds=0.7, first_delay_seconds=0.1
    )
    transport = HttpTransport("slow service", scripted.url, policy=policy)
    scripted.prepare(Reply(b"late", delay_seconds=6.0))
    started = time.monotonic()

    with pytest.raises(ServiceUnavailableError):
        transport.call("GET", "/thing")

    assert time.monotonic() - started < 4.0
    transport.close()


def test_o14_an_answer_that_drips_ends_with_its_time(
    scripted: ScriptedServer, hasty: HttpTransport
) -> None:
    scripted.prepare(Reply(b"x" * 200, drip_seconds=0.05))
    started = time.monotonic()

    with pytest.raises(NoAnswerError, match="took too long"):
        hasty.send_once("GET", "/thing")

    assert time.monotonic() - started < 4.0


def test_an_answer_without_end_is_cut_off(
    scripted: ScriptedServer, transport: HttpTransport
) -> None:
    scripted.prepare(Reply(b"x" * (MAX_ANSWER_BYTES + 1)))

    with pytest.raises(NoAnswerError, match="is too long"):
        transport.send_once("GET", "/thing")


def test_a_port_where_nobody_listens_is_an_outage(sleep: Callable[[float], None]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    transport = HttpTransport("gone", url, policy=POLICY, sleep=sleep)

    with pytest.raises(ServiceUnavailableError, match="ConnectionError"):
        transport.call("GET", "/thing")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_not_tried_again(
    scripted: ScriptedServer, transport: HttpTransport, status: int
) -> None:
    scripted.prepare(Reply(b'{"message": "no such key"}', status))

    with pytest.raises(AuthenticationRefusedError, match="no such key"):
        transport.call("GET", "/thing")
    assert len(scripted.seen) == 1


def test_a_redirect_is_not_followed(scripted: ScriptedServer, transport: HttpTransport) -> None:
    scripted.prepare(Reply(b"", 302, {"Location": "/elsewhere"}))

    assert transport.call("GET", "/thing").status == 302
    assert [request.path for request in scripted.seen] == ["/thing"]


def test_the_key_is_sent_as_configured_whatever_netrc_says(
    scripted: ScriptedServer,
    transport: HttpTransport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password wrong\n")
    monkeypatch.setenv("NETRC", str(netrc))
    scripted.prepare(Reply(b"here"))

    transport.call("GET", "/thing")

    assert scripted.seen[0].headers["Authorization"] == KEY


def test_the_proxy_of_the_environment_is_used(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", scripted.url)
    monkeypatch.setenv("no_proxy", "")
    behind = HttpTransport("outside", "http://service.invalid/base", policy=POLICY)
    scripted.prepare(Reply(b"here"))

    assert behind.call("GET", "/thing", params={"a": "b c"}).text == "here"
    assert scripted.seen[0].path == "http://service.invalid/base/thing?a=b+c"
    behind.close()


def test_a_base_with_a_path_is_kept(scripted: ScriptedServer) -> None:
    below = HttpTransport("outside", f"{scripted.url}/base/", policy=POLICY)
    scripted.prepare(Reply(b"here"))

    below.call("POST", "/thing", json_body={"a": "é"})
    (request,) = scripted.seen
    assert (request.path, request.body) == ("/base/thing", b'{"a": "\\u00e9"}')
    assert request.headers["Content-Type"] == "application/json"
    below.close()


def test_cookies_are_not_kept(scripted: ScriptedServer, transport: HttpTransport) -> None:
    scripted.prepare(Reply(b"", headers={"Set-Cookie": "a=b"}))

    transport.call("GET", "/thing")
    transport.call("GET", "/thing")

    assert "Cookie" not in scripted.seen[1].headers


def test_connections_are_kept_and_threads_do_not_mix_answers(
    scripted: ScriptedServer, transport: HttpTransport
) -> None:
    scripted.prepare(Reply(b"here"))
    barrier = threading.Barrier(4)

    def call_ten_times(_: int) -> list[str]:
        barrier.wait()
        return [transport.call("GET", "/thing").text for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        texts = [text for texts in pool.map(call_ten_times, range(4)) for text in texts]

    assert texts == ["here"] * 40
    assert len({request.client_port for request in scripted.seen}) <= 4


FORKING_PROGRAM = """
import os, sys
from app.clients.transport import CallPolicy, HttpTransport
policy = CallPolicy(attempts=1, timeout_seconds=5, budget_seconds=5, first_delay_seconds=0)
transport = HttpTransport("forked", sys.argv[1], policy=policy)
transport.call("GET", "/parent")
child = os.fork()
if child == 0:
    transport.call("GET", "/child")
    os._exit(0)
os.waitpid(child, 0)
transport.call("GET", "/parent")
transport.close()
"""


def test_a_forked_child_opens_its_own_connections(scripted: ScriptedServer) -> None:
    scripted.prepare(Reply(b"here"))

    subprocess.run(
        [sys.executable, "-c", FORKING_PROGRAM, scripted.url], cwd=ROOT, check=True, timeout=30
    )

    before, child, after = scripted.seen
    assert (before.path, child.path, after.path) == ("/parent", "/child", "/parent")
    assert before.client_port == after.client_port != child.client_port


def test_neither_log_nor_error_carries_the_key_or_the_address(
    scripted: ScriptedServer, transport: HttpTransport, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.prepare(Reply(is_cut=True))

    with caplog.at_level(logging.DEBUG, "app"), pytest.raises(ServiceUnavailableError) as caught:
        transport.call("GET", "/address/secret/unspent")

    records = [vars(record) for record in caplog.records if record.name.startswith("app.")]
    assert [record["event"] for record in records] == ["outside_call_failed"] * 3
    for text in (str(caught.value), str(records)):
        assert KEY not in text
        assert "/address/secret" not in text


def test_a_key_with_odd_characters_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="odd characters") as caught:
        HttpTransport("x", "http://h", policy=POLICY, auth_headers={"Authorization": "ab\ncd"})
    assert "ab\ncd" not in str(caught.value)


@pytest.mark.parametrize("body", [WEB_PAGE, b"", b"{", b"[" * 100_000, b"\xff\xfe", b"9" * 5000])
def test_a_body_that_is_not_json_is_nonsense(
    scripted: ScriptedServer, transport: HttpTransport, body: bytes
) -> None:
    scripted.prepare(Reply(body))

    with pytest.raises(UnexpectedAnswerError):
        parse_json("test service", transport.call("GET", "/thing"))


def test_words_of_a_refusal_are_short_and_without_long_hex(
    scripted: ScriptedServer, transport: HttpTransport
) -> None:
    secret = "ab" * 24
    body = b'{"error": {"message": "bad Mhex ' + secret.encode() + b" " + b"z" * 500 + b'"}}'
    scripted.prepare(Reply(body, 400))

    words = transport.call("GET", "/thing").words

    assert words.startswith("bad Mhex (hex) zz")
    assert len(words) == 300
