"""What accepting a registration costs the API: its code alone, and through gunicorn."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app import create_app, extensions
from app.queue import Task, enqueue
from devnet.supervisor.ports import choose_port
from devnet.supervisor.probes import find_http_problem
from devnet.supervisor.site import CHECKOUT
from tests.bench.measuring import Cost, Work, cpu_of, in_turn, repeat, show
from tests.bench.raw import copy_of, with_same_indexes
from tests.integration.services.lab import Lab, Owner

IN_A_ROUND = 50
ROUNDS = 5
CONNECTIONS = 4
UNIQUE = ("active_key", "uid_tag_id")
BARE = "bare insert_one, the record's indexes"
START_SECONDS = 30.0
_OWNER = Owner()
_numbers = count()


def test_accepting_in_the_process(lab: Lab) -> None:
    """The WSGI application without a server, beside a bare insert with the same durability."""
    app = create_app(environ={**lab.env, "JOBS_ASYNC": "1"})
    sample = _stored_sample(lab)
    plain = lab.collection("raw_plain")
    indexed = with_same_indexes(lab, "raw_indexed", "authentication_records")
    shared = extensions.get().redis
    message = json.dumps({"task": "anchor-records", "padding": "0" * 900})
    works: dict[str, Work] = {
        "POST /v1/patches, the WSGI application": _posting(app, lab),
        "its service alone, registration.register": repeat(
            IN_A_ROUND, lambda: lab.register(f"NFC-{next(_numbers)}", owner=_OWNER)
        ),
        "its wake-up alone, enqueue": repeat(
            IN_A_ROUND, lambda: enqueue(Task.ANCHOR_RECORDS, record_id="0" * 24)
        ),
        BARE: repeat(IN_A_ROUND, lambda: indexed.insert_one(copy_of(sample, UNIQUE))),
        "bare insert_one, no index": repeat(
            IN_A_ROUND, lambda: plain.insert_one(copy_of(sample, UNIQUE))
        ),
        "bare Redis LPUSH of a message": repeat(IN_A_ROUND, lambda: shared.lpush("raw", message)),
    }
    costs = in_turn(works, rounds=ROUNDS)
    _show("Accepting one registration, in this process", costs, ["ms", "CPU ms"])


def test_accepting_through_gunicorn(lab: Lab, tmp_path: Path) -> None:
    """One worker with four threads, beside its own answer to a ping and a bare insert."""
    sample = _stored_sample(lab)
    indexed = with_same_indexes(lab, "raw_indexed", "authentication_records")
    with _gunicorn(lab, tmp_path / "gunicorn.log") as (port, worker):
        works: dict[str, Work] = {
            f"{method} {path}, {at_once} at once": _requesting(lab, port, (method, path), at_once)
            for method, path in (("POST", "/v1/patches"), ("GET", "/__ping"))
            for at_once in (1, CONNECTIONS)
        }
        clocks = dict.fromkeys(works, cpu_of([worker]))
        works[BARE] = repeat(IN_A_ROUND, lambda: indexed.insert_one(copy_of(sample, UNIQUE)))
        costs = in_turn(works, rounds=ROUNDS, cpu_clocks=clocks)
    _show(
        "Accepting one registration, through gunicorn with 1 worker of 4 threads",
        costs,
        ["ms", "CPU ms of the worker"],
    )


def _body() -> bytes:
    product = {
        "uid_tag_id": f"NFC-{next(_numbers)}",
        "name": "Rain jacket",
        "serial_number": "RJ-2041-0007",
        "material": "waxed cotton",
    }
    metadata = {"notes": "blue, size M, first delivery of the season"}
    return json.dumps(
        {"product": product, "metadata": metadata, "auth": {"owner": _OWNER.address}}
    ).encode()


def _headers(lab: Lab) -> dict[str, str]:
    return {"x-api-key": lab.env["API_KEY"], "Content-Type": "application/json"}


def _stored_sample(lab: Lab) -> dict[str, Any]:
    lab.register(f"NFC-{next(_numbers)}", owner=_OWNER)
    sample: dict[str, Any] = lab.collection("authentication_records").find_one({})
    return sample


def _posting(app: Flask, lab: Lab) -> Work:
    """Requests that are built beforehand, so that nothing but the application is measured."""
    prepared = [
        EnvironBuilder(
            path="/v1/patches", method="POST", data=_body(), headers=Headers(_headers(lab))
        ).get_environ()
        for _ in range(IN_A_ROUND * (ROUNDS + 1))
    ]

    def post() -> None:
        answer = run_wsgi_app(app.wsgi_app, prepared.pop(), buffered=True)
        assert answer[1] == "202 ACCEPTED", list(answer[0])

    return repeat(IN_A_ROUND, post)


def _requesting(lab: Lab, port: int, request: tuple[str, str], at_once: int) -> Work:
    """Requests over so many connections at once."""
    method, path = request
    headers = _headers(lab)

    def ask_all(number: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            for _ in range(number):
                body = _body() if method == "POST" else None
                connection.request(method, path, body=body, headers=headers)
                answer = connection.getresponse()
                answer.read()
                assert answer.status in (200, 202), answer.status

    def work() -> int:
        share = IN_A_ROUND // at_once
        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(ask_all, [share] * at_once))
        return share * at_once

    return work


@contextmanager
def _gunicorn(lab: Lab, log_path: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The API with one worker of four threads; answers its port and its worker's process."""
    port = choose_port(())
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1"]
    command += ["--worker-class", "gthread", "--threads", "4", "--no-control-socket", "wsgi:app"]
    environment = {**os.environ, **lab.env, "JOBS_ASYNC": "1"}
    with (
        log_path.open("ab") as log,
        subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while find_http_problem(port, "/ready") is not None:
                assert time.monotonic() < deadline, log_path.read_text()
                time.sleep(0.1)
            (worker,) = psutil.Process(server.pid).children()
            yield port, worker
        finally:
            server.terminate()


def _show(title: str, costs: Mapping[str, Cost], columns: Sequence[str]) -> None:
    raw = costs[BARE]
    rows = [
        [name, cost.milliseconds, cost.cpu_milliseconds, cost.per_second, cost.over(raw)]
        for name, cost in costs.items()
    ]
    show(title, ["", *columns, "a second", "x bare insert"], rows)
