"""API keys over HTTP: in this process, and in workers that know nothing of one another."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from app.domain.api_keys import Scope
from app.services import api_keys
from tests.integration.api.caller import Caller
from tests.integration.api.serving import Server, serving
from tests.integration.services.test_races import at_once

WORKERS = 2
# Enough for each worker to get some of them.
REQUESTS = 20
# Good keys get past the check and fail at an empty body.
LET_IN = 400


@pytest.fixture
def server(caller: Caller, tmp_path: Path) -> Iterator[Server]:
    """The same database served by two workers."""
    with serving(caller.lab.env, tmp_path, workers=WORKERS) as started:
        assert started.wait() is None, started.log
        yield started


def make(*scopes: Scope, name: str = "shop", lifetime: timedelta | None = None) -> str:
    return api_keys.create(name, scopes or (Scope.PATCHES_WRITE,), lifetime).text


def status_here(caller: Caller, key: str) -> int:
    return caller.post("/v1/patches", {}, headers={"x-api-key": key}).status_code


def statuses_there(server: Server, key: str) -> set[int]:
    """What the workers answer, each request over a connection of its own."""
    return {
        requests.post(
            f"{server.base_url}/v1/patches", json={}, headers={"x-api-key": key}, timeout=30
        ).status_code
        for _ in range(REQUESTS)
    }


def prefix_of(key: str) -> str:
    return key.split("_")[1]


def test_s6_a_revoked_key_fails_at_once_on_every_worker(caller: Caller, server: Server) -> None:
    key = make()
    assert status_here(caller, key) == LET_IN
    assert statuses_there(server, key) == {LET_IN}

    api_keys.revoke(prefix_of(key))

    assert statuses_there(server, key) == {401}
    assert status_here(caller, key) == 401


def test_a_rotated_key_ends_at_once_and_its_successor_works_everywhere(
    caller: Caller, server: Server
) -> None:
    old = make()
    assert statuses_there(server, old) == {LET_IN}
    new = api_keys.rotate(prefix_of(old), timedelta(0)).text
    assert (statuses_there(server, old), statuses_there(server, new)) == ({401}, {LET_IN})
    assert (status_here(caller, old), status_here(caller, new)) == (401, LET_IN)


def test_hostile_headers_on_the_wire_are_refused(caller: Caller, server: Server) -> None:
    key = make().encode()
    hostile = [
        b"",
        b"x-api-key: ",
        b"x-api-key: " + b"pp_" * 3_000,
        b"x-api-key: " + b"a" * 10_240,
        b"x-api-key: \xff\xfe\xe9",
        b"x-api-key: " + key + b"\x00",
        b"x-api-key: \x00" + key,
        b"x-api-key: " + key[:40] + b" " + key[40:],
        b"x-api-key: " + key + b"\r\nx-api-key: " + key,
        b"x-api-key: wrong\r\nx-api-key: " + key,
        b"x_api_key: " + key,
        b"x-api-key : " + key,
        b"x-api-key: Bearer " + key,
        b"Authorization: Bearer " + key,
    ]
    for header in hostile:
        assert raw_status(server, header) in (400, 401, 431), header[:60]
    # A body that is none is 400 as well: the key is what is refused above.
    assert raw_status(server, b"x-api-key:   " + key + b"  ", body=b"{}") == LET_IN
    assert raw_status(server, b"x-api-key: " + key + b"0", body=b"{}") == 401
    assert key.decode() not in server.log


def raw_status(server: Server, header: bytes, body: bytes = b"") -> int:
    """Sends a request as it is written here; answers the status."""
    lines = [
        b"GET /v1/admin/utxo-health HTTP/1.1" if not body else b"POST /v1/patches HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        *([header] if header else []),
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        return int(connection.makefile("rb").readline().split()[1])


def test_s13_a_good_key_without_the_scope_is_403_and_told_which(caller: Caller) -> None:
    till = make(Scope.POS, name="till-7")
    response = caller.post("/v1/patches", {}, headers={"x-api-key": till})
    assert response.status_code == 403
    assert response.json["code"] == "insufficient_scope"
    assert response.json["message"] == "this API key lacks the scope patches:write"
    assert response.json["error"]["status"] == 403

    response = caller.get("/v1/admin/utxo-health", headers={"x-api-key": till})
    assert (response.status_code, response.json["success"]) == (403, False)


def test_s13_a_key_opens_what_its_scope_names_and_nothing_else(caller: Caller) -> None:
    caller.start(METRICS_REQUIRE_API_KEY="1")
    asked = {
        Scope.PATCHES_WRITE: ("POST", "/v1/patches"),
        Scope.ADMIN: ("GET", "/v1/admin/utxo-health"),
        Scope.METRICS: ("GET", "/metrics"),
    }
    for held in Scope:
        key = make(held)
        for needed, (method, path) in asked.items():
            send = caller.get if method == "GET" else caller.post
            status = send(path, headers={"x-api-key": key}).status_code
            assert (status == 403) == (held is not needed), (held, path, status)
            assert status not in (401, 500)


def test_the_key_of_the_environment_opens_everything(caller: Caller) -> None:
    caller.start(METRICS_REQUIRE_API_KEY="1")
    key = {"x-api-key": caller.lab.env["API_KEY"]}
    assert caller.get("/metrics", headers=key).status_code == 200
    assert caller.get("/v1/admin/utxo-health", headers=key).status_code == 200
    assert caller.post("/v1/patches", {}).status_code == LET_IN


def test_an_expired_key_is_401_and_says_so(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make(lifetime=timedelta(days=90))
    later = api_keys.utc_now() + timedelta(days=91)
    monkeypatch.setattr(api_keys, "utc_now", lambda: later)
    response = caller.post("/v1/patches", {}, headers={"x-api-key": key})
    assert response.status_code == 401
    assert response.json["code"] == "unauthorized"
    assert response.json["message"] == "this API key is expired"


def test_a_key_that_has_ended_is_told_apart_from_a_wrong_one_by_its_holder_only(
    caller: Caller,
) -> None:
    key = make()
    api_keys.revoke(prefix_of(key))
    stranger = key[:-1] + ("0" if key[-1] != "0" else "1")
    unknown = f"pp_{'0' * 12}_{'0' * 64}"
    messages = [
        caller.post("/v1/patches", {}, headers={"x-api-key": given}).json["message"]
        for given in (key, stranger, unknown, "nonsense")
    ]
    assert messages[0] == "this API key is revoked"
    assert set(messages[1:]) == {"the header x-api-key is missing or wrong"}


def test_twenty_requests_at_once_are_let_in(caller: Caller) -> None:
    key = make()
    assert at_once(20, lambda _: status_here(caller, key)) == [LET_IN] * 20


def test_the_log_names_the_key_and_never_shows_it(
    caller: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    caller.start()
    good, till, gone = make(name="shop 1"), make(Scope.POS, name="till-7"), make(name="gone")
    api_keys.revoke(prefix_of(gone))
    capsys.readouterr()
    for key in (good, till, gone):
        status_here(caller, key)
    written = capsys.readouterr().err
    lines: list[Any] = [json.loads(line) for line in written.splitlines()]
    requested = [line for line in lines if line.get("event") == "http.request"]
    assert [(line["status"], line.get("key_name")) for line in requested] == [
        (400, "shop 1"),
        (403, "till-7"),
        (401, None),
    ]
    assert requested[0]["key_prefix"] == prefix_of(good)
    (ended,) = (line for line in lines if line.get("event") == "api_key.ended")
    assert (ended["key_prefix"], ended["state"]) == (prefix_of(gone), "revoked")
    assert ended["request_id"] == requested[2]["request_id"]
    assert not any(key.split("_")[2] in written for key in (good, till, gone))
