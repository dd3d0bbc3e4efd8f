"""Requests that any worker of a host has answered are in each scrape, and outlive the worker."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.deployment.conftest import Web, serving, wait_for

ROUTE = "/v1/patches/verify/<uid:uid_tag_id>"
SCRAPES = 12


class Counted:
    """A server with two workers, and how often it was asked."""

    def __init__(self, web: Web, counters: Path) -> None:
        self.url = f"http://127.0.0.1:{web.port}"
        self.port = web.port
        self.counters = counters
        self.master = psutil.Process(web.process.pid)
        self.asked = 0

    def ask(self) -> None:
        """Sends one request, on a connection of its own: whichever worker is free takes it."""
        assert requests.get(f"{self.url}/v1/patches/verify/ab", timeout=30).status_code == 400
        self.asked += 1

    def ask_of_both(self) -> None:
        """Asks until both workers have answered something."""

        def have_both() -> bool:
            self.ask()
            return len(self.files("histogram")) == 2

        wait_for(have_both)

    def files(self, kind: str) -> list[str]:
        return sorted(path.name for path in self.counters.glob(f"{kind}_*.db"))

    def shown(self, status: str) -> set[float]:
        """The different numbers that several scrapes show of the route."""
        return {self._scrape(status) for _ in range(SCRAPES)}

    def _scrape(self, status: str) -> float:
        text = requests.get(f"{self.url}/metrics", timeout=30).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "patchproof_http_request_duration_seconds_count"
            and sample.labels["route"] != "/metrics"
            and sample.labels["status"] == status
        )


@pytest.fixture
def counters(tmp_path: Path) -> Path:
    return tmp_path / "counters"


def test_workers_add_up_and_lose_nothing_when_they_are_killed(
    indexed: dict[str, str], counters: Path, tmp_path: Path
) -> None:
    env = {**indexed, "PROMETHEUS_MULTIPROC_DIR": str(counters), "WEB_WORKERS": "2"}
    with serving(env, tmp_path / "log") as web:
        server = Counted(web, counters)
        server.ask_of_both()
        assert server.shown("400") == {server.asked}

        for _ in range(3):
            kill_one(server)
            server.ask()
        server.ask_of_both()

        assert server.shown("400") == {server.asked}
        # The dead have left no files of their own, which each scrape would read, and no gauge.
        assert server.files("histogram") == ["histogram_1.db", "histogram_2.db"]
        assert server.files("gauge") == []

        cut_off(server)
        wait_for(lambda: server.shown("400") == {server.asked + 1})


def kill_one(server: Counted) -> None:
    victim = server.master.children()[0]
    victim.kill()

    def is_replaced() -> bool:
        pids = {child.pid for child in server.master.children()}
        return victim.pid not in pids and len(pids) == 2

    wait_for(is_replaced)


def cut_off(server: Counted) -> None:
    """Announces a body, and is gone before it is sent."""
    head = b"POST /v1/auth/request-verification HTTP/1.1\r\nHost: a\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head)


def test_without_a_directory_the_server_makes_one_and_takes_it_away(
    indexed: dict[str, str], tmp_path: Path
) -> None:
    env = {**indexed, "PROMETHEUS_MULTIPROC_DIR": "", "TMPDIR": str(tmp_path), "WEB_WORKERS": "2"}
    with serving(env, tmp_path / "log") as web:
        [counters] = tmp_path.glob("patchproof-web-counters-*")
        server = Counted(web, counters)
        server.ask_of_both()
        assert server.shown("400") == {server.asked}
        assert web.end() == 0

    assert not counters.exists()
