"""`manage.py fees`: one rate, seen and changed in one place."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from app.services import fees
from tests.integration.commands.conftest import Manage
from tests.integration.pool.world import World

PAGES = {
    "/camel": b'{"feePerKb": 77}',
    "/snake?x=1": b'{"fee_per_kb": 78}',
    "/html": b"<html>no</html>",
    "/text": b'{"feePerKb": "77"}',
    "/zero": b'{"feePerKb": 0}',
    "/huge": b'{"feePerKb": 5000}',
    "/list": b"[77]",
}


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = PAGES.get(self.path)
        self.send_response(200 if body else 500)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """A server with pages that name fees, and others."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_rate_is_shown_with_its_source(manage: Manage) -> None:
    assert manage("fees", "show", "--json").json == {
        "satoshis_per_kilobyte": 100,
        "source": "environment",
    }
    assert manage("fees", "refresh", "--json").json == {
        "satoshis_per_kilobyte": 50,
        "source": "policy",
    }


def test_f32_a_rate_that_is_set_counts(manage: Manage, world: World) -> None:
    assert manage("fees", "refresh", "--set", "777").code == 0
    assert fees.satoshis_per_kilobyte() == 777
    assert manage("fees", "refresh", "--unset").code == 0
    assert manage("fees", "refresh", "--unset").code == 2
    assert fees.satoshis_per_kilobyte() == 100


@pytest.mark.parametrize(("path", "rate"), [("/camel", 77), ("/snake?x=1", 78)])
def test_a_page_can_name_the_rate(manage: Manage, pages: str, path: str, rate: int) -> None:
    done = manage("fees", "refresh", "--from-url", pages + path, "--json")
    assert done.json == {"satoshis_per_kilobyte": rate, "source": "settings"}


@pytest.mark.parametrize(
    ("path", "code"),
    [("/html", 4), ("/text", 4), ("/zero", 4), ("/list", 4), ("/missing", 4), ("/huge", 5)],
)
def test_a_page_that_names_no_usable_rate_changes_nothing(
    manage: Manage, world: World, pages: str, path: str, code: int
) -> None:
    before = world.snapshot()
    assert manage("fees", "refresh", "--from-url", pages + path).code == code
    assert world.snapshot() == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--set", "0"), 5),
        (("--set", "-1"), 5),
        (("--set", "2001"), 5),
        (("--set", "many"), 2),
        (("--set", "5", "--unset"), 2),
        (("--from-url", "file:///etc/passwd"), 2),
        (("--from-url", "nowhere"), 2),
    ],
)
def test_nonsense_is_refused(
    manage: Manage, world: World, words: tuple[str, ...], code: int
) -> None:
    before = world.snapshot()
    assert manage("fees", "refresh", *words).code == code
    assert world.snapshot() == before


def test_a_network_that_names_no_fee_is_4(manage: Manage, world: World) -> None:
    world.set_faults({"kind": "status", "status": 503, "path": "/feerecommendation"})
    ended = manage("fees", "refresh")
    assert (ended.code, "nothing changed" in ended.stderr) == (4, True)
