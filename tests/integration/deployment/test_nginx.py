"""nginx/ under a real nginx, in front of the real application."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from app.api.headers import SECURITY_HEADERS
from devnet.supervisor.ports import choose_port
from tests.integration.deployment.conftest import Web, wait_for
from tests.integration.deployment.fronts import Front, echoing, front, render


@pytest.fixture(scope="session")
def proxy(web: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with front(tmp_path_factory.mktemp("nginx"), web.port) as running:
        yield running


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Front]:
    """A proxy whose application is down."""
    with front(tmp_path, choose_port(())) as running:
        yield running


def check_error(response: requests.Response, status: int, code: str) -> None:
    """Fails unless it is the error body that all failures share."""
    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("application/json")
    body: dict[str, Any] = response.json()
    assert body["code"] == body["error"]["code"] == code
    assert body["message"] == body["error"]["message"]
    assert body["error"]["status"] == status
    assert body["error"]["requestId"] == response.headers["X-Request-Id"]


def headers_of(response: requests.Response) -> list[str]:
    """The names of the headers as they came, doubles too."""
    return [name.lower() for name in response.raw.headers]


def test_nginx_finds_nothing_wrong_with_the_configuration(proxy: Front) -> None:
    done = subprocess.run(
        proxy.command("-t"), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "test is successful" in done.stderr


@pytest.mark.parametrize(
    ("characters", "status", "code"),
    [(7000, 400, "invalid_request"), (9000, 414, "invalid_request")],
)
def test_a_long_address_is_refused_in_the_words_of_all_failures(
    proxy: Front, characters: int, status: int, code: str
) -> None:
    path = "/v1/patches/verify/" + "x" * characters

    check_error(proxy.get(path), status, code)


@pytest.mark.parametrize("name", ["", "a b", "x;return 200", "x|y", "a&b", "$host", "a\nb"])
def test_what_nginx_or_sed_would_misread_is_refused(name: str) -> None:
    done = render({"PATCHPROOF_SERVER_NAME": name})
    assert done.returncode != 0
    assert "SERVER_NAME" in done.stderr


def test_it_speaks_http_2_over_tls_and_nothing_older_than_1_2(proxy: Front) -> None:
    context = ssl.create_default_context(cafile=str(proxy.certificate))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", proxy.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        assert secured.selected_alpn_protocol() == "h2"
        assert secured.version() == "TLSv1.3"


def test_plain_http_is_sent_to_the_configured_name(proxy: Front) -> None:
    response = requests.get(
        f"http://127.0.0.1:{proxy.http_port}/v1/x?y=1",
        headers={"Host": "evil.example"},
        allow_redirects=False,
        timeout=30,
    )
    assert response.status_code == 308
    assert response.headers["Location"] == f"{proxy.base_url}/v1/x?y=1"


def test_each_security_header_comes_once_from_either(proxy: Front) -> None:
    for path in ("/health", "/v1/patches/verify/NFC-unknown", "/metrics"):
        names = headers_of(proxy.get(path))
        for name in (*SECURITY_HEADERS, "Strict-Transport-Security", "X-Request-Id"):
            assert names.count(name.lower()) == 1, (path, name)
    assert proxy.get("/health").headers["Strict-Transport-Security"] == "max-age=15768000"


def test_an_answer_of_the_application_comes_through_with_its_words(proxy: Front) -> None:
    response = proxy.get("/v1/patches/verify/NFC-unknown", headers={"X-Request-Id": "till-7"})
    assert response.status_code == 404
    assert response.json()["status"] == "not_found"
    assert response.headers["X-Request-Id"] == "till-7"


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/metrics/",
        "//metrics",
        "/metrics?x=1",
        "/%6detrics",
        "/./metrics",
        "/health/../metrics",
        "/health%2f..%2fmetrics",
        "/internal/metrics",
        "/internal/metrics/",
        "/%69nternal/metrics",
        "/internal%2Fmetrics",
        "//internal/metrics",
        "/internal//metrics",
        "/internal/signer/sign",
    ],
)
def test_s4_what_is_internal_is_closed_to_the_world(proxy: Front, path: str, web: Web) -> None:
    assert requests.get(f"http://127.0.0.1:{web.port}/metrics", timeout=30).ok
    check_error(proxy.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/api/svd/begin", 32 * 1024),
        ("//api/svd/begin", 32 * 1024),
        ("/v1/pos/claim-intent", 1024 * 1024),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_s16_a_body_that_is_too_large_is_refused(
    proxy: Front, path: str, limit: int, is_chunked: bool
) -> None:
    body = b" " * (limit + 1)
    sent: Any = iter([body[:1000], body[1000:]]) if is_chunked else body
    response = proxy.send("POST", path, data=sent, headers={"Content-Type": "application/json"})
    check_error(response, 413, "payload_too_large")


def test_the_application_is_told_the_real_address_and_the_id(tmp_path: Path) -> None:
    forged = {
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Prefix": "/evil",
        "X-Real-IP": "192.0.2.7",
        "Forwarded": "for=192.0.2.7",
        "Proxy": "evil.example",
        "X-Request-Id": "not an id",
    }
    with echoing() as port, front(tmp_path, port) as running:
        told = running.get("/v1/anything", headers=forged).json()
        # The line is written once the answer is out.
        wait_for(lambda: bool(running.log_lines()))
        [line] = running.log_lines()

    assert told["x-forwarded-for"] == "127.0.0.1"
    assert told["x-forwarded-proto"] == "https"
    for name in ("x-forwarded-host", "x-forwarded-prefix", "x-real-ip", "forwarded", "proxy"):
        assert name not in told
    assert told["x-request-id"] == line["request_id"] != "not an id"
    assert "192.0.2.7" not in str(line)


def test_without_the_application_programs_and_people_are_told_so(lonely: Front) -> None:
    check_error(lonely.get("/v1/patches/verify/X"), 502, "service_unavailable")
    check_error(lonely.send("POST", "/v1/patches", json={}), 502, "service_unavailable")
    page = lonely.get("/certificates/certificate.html?x=<script>")
    assert page.status_code == 502
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["X-Request-Id"] in page.text
    assert "script" not in page.text
    assert page.headers["Retry-After"] == "5"
    for name in SECURITY_HEADERS:
        assert name in page.headers


def test_a_flood_of_logins_is_held_up_here(lonely: Front) -> None:
    def ask(number: int) -> requests.Response:
        return lonely.send("POST", f"{'/' * (1 + number % 2)}v1/auth/{number}", json={})

    # 40 at once and five a second pass.
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(300)))

    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    check_error(refused[0], 429, "rate_limited")
    assert refused[0].headers["Retry-After"] == "5"


def test_the_log_has_the_id_and_no_query(proxy: Front) -> None:
    marked = {"X-Request-Id": "log-me", "Referer": "https://x.example/?token=SECRET"}
    proxy.get("/v1/patches/verify/NFC-9?token=SECRET", headers=marked)

    def lines() -> list[dict[str, Any]]:
        return [line for line in proxy.log_lines() if line["request_id"] == "log-me"]

    wait_for(lambda: bool(lines()))
    [line] = lines()
    assert (line["path"], line["status"]) == ("/v1/patches/verify/NFC-9", "404")
    assert "SECRET" not in str(line)
