"""Requests a second through what production puts around the application, and its memory."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil
import pytest

from devnet.supervisor.ports import choose_port
from devnet.supervisor.probes import find_http_problem
from devnet.supervisor.site import CHECKOUT
from tests.bench.calling import Make, Place, calling, request
from tests.bench.measuring import (
    MEMORY_COLUMNS,
    Clock,
    Cost,
    Work,
    cpu_of,
    in_turn,
    memory,
    show,
)
from tests.integration.deployment.conftest import Web, serving, wait_for
from tests.integration.deployment.fronts import Front, front
from tests.integration.services.lab import Lab, Owner

CONNECTIONS = 16
CHEAP_IN_A_ROUND = 480
DEAR_IN_A_ROUND = 96
ROUNDS = 5
CLASS_ROUNDS = 3
UID = "NFC-served"
HEALTH = "GET /health"
VERIFY = "GET /v1/patches/verify"
BARE_SOCKET = "bare socket, a thread a connection"
BARE = "bare WSGI application, gunicorn"
SYNC = "sync, 2"
# Worker class, workers, threads: those that deploy/gunicorn.conf.py compares.
CLASSES: Mapping[str, tuple[str, int, int]] = {
    SYNC: ("sync", 2, 1),
    "sync, 4": ("sync", 4, 1),
    "gthread, 2 x 4": ("gthread", 2, 4),
    "gthread, 1 x 8": ("gthread", 1, 8),
    "gthread, 4 x 4": ("gthread", 4, 4),
}
_numbers = count()


@dataclass(frozen=True)
class Asked:
    """A request, the status of its answer, and how many of it make a round."""

    make: Make
    status: int
    in_a_round: int


@dataclass(frozen=True)
class Site:
    """gunicorn with nginx in front of it."""

    web: Web
    proxy: Front

    @property
    def inner(self) -> Place:
        return Place(self.web.port)

    @property
    def outer(self) -> Place:
        context = ssl.create_default_context(cafile=str(self.proxy.certificate))
        return Place(self.proxy.port, context)

    @property
    def web_processes(self) -> list[psutil.Process]:
        return _family(self.web.process.pid)

    @property
    def proxy_processes(self) -> list[psutil.Process]:
        return _family(int((self.proxy.directory / "nginx.pid").read_text()))

    @property
    def processes(self) -> list[psutil.Process]:
        return self.web_processes + self.proxy_processes


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_serving(lab: Lab, tmp_path: Path) -> None:
    """Straight to gunicorn and through nginx with TLS, beside answers that cost nothing."""
    requests = _list_requests(lab)
    with ExitStack() as stack:
        port, answerer = stack.enter_context(_bare_socket())
        bare = stack.enter_context(_site(lab, tmp_path / "bare", "tests.bench.bare:app"))
        site = stack.enter_context(_site(lab, tmp_path / "site", "wsgi:app"))
        ping = _getting("/", CHEAP_IN_A_ROUND)
        works: dict[str, Work] = {
            BARE_SOCKET: _calling(Place(port), ping),
            BARE: _calling(bare.inner, ping),
            "the same through nginx": _calling(bare.outer, ping),
        }
        clocks: dict[str, Clock] = {
            BARE_SOCKET: cpu_of([answerer]),
            BARE: cpu_of(bare.web_processes),
            "the same through nginx": cpu_of(bare.processes),
        }
        for name, asked in requests.items():
            works[f"{name}, gunicorn"] = _calling(site.inner, asked)
            works[f"{name}, nginx"] = _calling(site.outer, asked)
            clocks[f"{name}, gunicorn"] = cpu_of(site.web_processes)
            clocks[f"{name}, nginx"] = cpu_of(site.processes)
        costs = in_turn(works, rounds=ROUNDS, cpu_clocks=clocks)
        show(
            f"Serving {CONNECTIONS} connections",
            ["", "a second", "CPU ms of the servers", "x bare WSGI"],
            [
                [name, cost.per_second, cost.cpu_milliseconds, cost.over(costs[BARE])]
                for name, cost in costs.items()
            ],
        )
        _show_memory("Memory of the servers after that", site, bare)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_worker_classes(lab: Lab, tmp_path: Path) -> None:
    """The numbers that deploy/gunicorn.conf.py chooses by."""
    requests = _list_requests(lab)
    works: dict[str, Work] = {}
    with ExitStack() as stack:
        for name, (kind, workers, threads) in CLASSES.items():
            directory = tmp_path / name
            directory.mkdir()
            sizes = {"WEB_WORKERS": str(workers), "WEB_THREADS": str(threads)}
            web = stack.enter_context(_web(lab, directory, "--worker-class", kind, **sizes))
            works |= {
                f"{name}: {label}": _calling(Place(web.port), requests[label])
                for label in (HEALTH, VERIFY)
            }
        costs = in_turn(works, rounds=CLASS_ROUNDS)
    rows = [
        [name, *(cell for label in (HEALTH, VERIFY) for cell in _cells(costs, name, label))]
        for name in CLASSES
    ]
    columns = [f"{label}{tail}" for label in (HEALTH, VERIFY) for tail in (", a second", ", share")]
    show(f"Worker classes, {CONNECTIONS} connections, as shares of {SYNC}", ["", *columns], rows)


def _cells(costs: Mapping[str, Cost], name: str, label: str) -> list[object]:
    rate = costs[f"{name}: {label}"].per_second
    return [rate, rate / costs[f"{SYNC}: {label}"].per_second]


def _list_requests(lab: Lab) -> Mapping[str, Asked]:
    """What is asked, by what the tables call it."""
    owner, key = Owner(), lab.env["API_KEY"]
    lab.fill_pool(2, satoshis=20_000)
    lab.registered(UID, owner)

    def register() -> bytes:
        product = {"uid_tag_id": f"NFC-{next(_numbers)}", "name": "Rain jacket"}
        body = json.dumps({"product": product, "auth": {"owner": owner.address}}).encode()
        return request("POST", "/v1/patches", body, **{"x-api-key": key})

    return {
        HEALTH: _getting("/health", CHEAP_IN_A_ROUND),
        VERIFY: _getting(f"/v1/patches/verify/{UID}", DEAR_IN_A_ROUND),
        "POST /v1/patches": Asked(register, 202, DEAR_IN_A_ROUND),
    }


def _getting(path: str, in_a_round: int) -> Asked:
    sent = request("GET", path)
    return Asked(lambda: sent, 200, in_a_round)


def _calling(place: Place, asked: Asked) -> Work:
    return calling(place, asked.make, asked.status, times=asked.in_a_round, connections=CONNECTIONS)


@contextmanager
def _site(lab: Lab, directory: Path, application: str) -> Iterator[Site]:
    directory.mkdir()
    with (
        _web(lab, directory, application=application) as web,
        front(directory, web.port) as proxy,
    ):
        yield Site(web, proxy)


@contextmanager
def _web(
    lab: Lab, directory: Path, *options: str, application: str = "wsgi:app", **settings: str
) -> Iterator[Web]:
    """gunicorn as production has it, logs and counters too."""
    counters = {"PROMETHEUS_MULTIPROC_DIR": str(directory / "metrics"), "TRUSTED_PROXIES": "1"}
    env = {**lab.env, "JOBS_ASYNC": "1", **counters, **settings}
    with serving(env, directory / "log", *options, application=application) as web:
        yield web


@contextmanager
def _bare_socket() -> Iterator[tuple[int, psutil.Process]]:
    port = choose_port(())
    command = [sys.executable, "-m", "tests.bench.bare", str(port)]
    with subprocess.Popen(command, cwd=CHECKOUT) as process:
        try:
            wait_for(lambda: find_http_problem(port, "/") is None)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


def _family(pid: int) -> list[psutil.Process]:
    """A process and its children, the parent first."""
    parent = psutil.Process(pid)
    return [parent, *parent.children()]


def _show_memory(title: str, site: Site, bare: Site) -> None:
    kinds = {
        "gunicorn, master": site.web_processes[:1],
        "gunicorn, a worker": site.web_processes[1:],
        "gunicorn, a worker of the bare application": bare.web_processes[1:],
        "nginx, master": site.proxy_processes[:1],
        "nginx, a worker": site.proxy_processes[1:],
    }
    show(
        title,
        ["", "processes", *MEMORY_COLUMNS],
        [[name, len(processes), *memory(processes)] for name, processes in kinds.items()],
    )
