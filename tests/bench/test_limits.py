"""What a limit adds to a request, beside the bare count that it can't do without."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from flask import Flask
from limits import RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
from redis.connection import Connection
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app import extensions
from app.api.windows import SCHEME, WindowStorage
from devnet.supervisor import Devnet
from tests.bench.measuring import Work, in_turn, repeat, show
from tests.integration.limits.probes import RIGHT_CODE, Probes

IN_A_ROUND = 200
ROUNDS = 7
BARE = "bare Redis INCR"
MANY = 1_000_000_000
USER = {"userId": "507f1f77bcf86cd799439011"}
CODE = {"identifier": "a@shop.example", "code": RIGHT_CODE}


def test_limits(devnet: Devnet) -> None:
    """Requests through the WSGI application without a server, and their parts."""
    probes = Probes(
        {**devnet.env, "AUTH_SUBMIT_MAX": str(MANY), "AUTH_SUBMIT_IDENTIFIER_MAX": str(MANY)}
    )
    bare = extensions.get().redis
    works = {
        "a request without limits": _ask(probes, "GET", "/probe/free"),
        "the same with one": _ask(probes, "GET", "/probe/read"),
        "a POST with two, at the door and behind it": _ask(probes, "POST", "/probe/begin", USER),
        "a POST with three, two given back": _ask(probes, "POST", "/probe/submit", CODE),
        "one limit on our storage, with its numbers": _own_storage(1),
        "three of them": _own_storage(3),
        "one limit on the library's storage, with its numbers": _library_storage(devnet, 1),
        "three of those": _library_storage(devnet, 3),
        BARE: lambda: bare.incr("raw"),
    }
    trips = {name: _count(once) for name, once in works.items()}
    repeated: dict[str, Work] = {name: repeat(IN_A_ROUND, once) for name, once in works.items()}
    costs = in_turn(repeated, rounds=ROUNDS)
    show(
        "Limiting a request",
        ["", "round trips", "ms", "CPU ms", "a second", "x bare INCR"],
        [
            [
                name,
                trips[name],
                cost.milliseconds,
                cost.cpu_milliseconds,
                cost.per_second,
                cost.over(costs[BARE]),
            ]
            for name, cost in costs.items()
        ],
    )
    probes.close()
    with redis.Redis.from_url(devnet.env["REDIS_URL"]) as connection:
        connection.flushdb()


def _ask(probes: Probes, method: str, path: str, body: Any = None) -> Callable[[], object]:
    raw = b"" if body is None else json.dumps(body).encode()

    def ask() -> None:
        builder = EnvironBuilder(
            path=path, method=method, data=raw, content_type="application/json"
        )
        answer = run_wsgi_app(probes.app.wsgi_app, builder.get_environ(), buffered=True)
        assert answer[1] == "200 OK", answer

    return ask


def _own_storage(limits: int) -> Callable[[], object]:
    current = extensions.get()
    storage = WindowStorage(
        f"{SCHEME}://",
        guard=current.limits_guard,
        connection_pool=current.redis.connection_pool,
        key_prefix="raw",
    )
    limiter, items, app = MovingWindowRateLimiter(storage), _items(limits), Flask(__name__)

    def hit() -> None:
        with app.app_context():
            for item in items:
                assert limiter.hit(item, "somebody")

    return hit


def _library_storage(devnet: Devnet, limits: int) -> Callable[[], object]:
    """What flask-limiter asks of it: a hit, and for the headers what is left and until when."""
    storage = RedisStorage(devnet.env["REDIS_URL"])
    limiter, items = FixedWindowRateLimiter(storage), _items(limits)

    def hit() -> None:
        for item in items:
            assert limiter.hit(item, "somebody")
            limiter.get_window_stats(item, "somebody")

    return hit


def _items(limits: int) -> list[RateLimitItemPerMinute]:
    return [RateLimitItemPerMinute(MANY, namespace=f"raw{number}") for number in range(limits)]


def _count(once: Callable[[], object]) -> int:
    """How often it asks Redis, once scripts are known there and connections stand."""
    once()
    with _counting() as sent:
        once()
    return len(sent)


@contextmanager
def _counting() -> Iterator[list[object]]:
    sent: list[object] = []
    send = Connection.send_packed_command

    def counted(self: Connection, command: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(command)
        return send(self, command, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "send_packed_command", counted)
        yield sent
