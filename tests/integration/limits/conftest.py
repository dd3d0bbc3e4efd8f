"""An application with routes of the test's own behind every kind of limit, on a real Redis."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.connection import Connection

from app import extensions
from devnet.supervisor import Devnet
from devnet.supervisor.site import GENEROUS_LIMITS
from tests.conftest import outside_settings
from tests.integration.limits.probes import Probes

Start = Callable[..., Probes]


class MortalRedis:
    """A Redis that is there, is not there, or takes calls and never answers."""

    def __init__(self, own: Devnet) -> None:
        self._own = own
        self.url = own.env["REDIS_URL"]
        self._hung: int | None = None

    def stop(self) -> None:
        self._own.stop("redis")

    def start(self) -> None:
        self._own.start("redis")

    def hang(self) -> None:
        with redis.Redis.from_url(self.url) as connection:
            self._hung = int(connection.info("server")["process_id"])
        os.kill(self._hung, signal.SIGSTOP)

    def go_on(self) -> None:
        if self._hung is not None:
            os.kill(self._hung, signal.SIGCONT)
            self._hung = None


@pytest.fixture
def connection(clean_devnet: Devnet) -> Iterator[redis.Redis]:
    """Redis as the application sees it, with nothing in it."""
    with redis.Redis.from_url(clean_devnet.env["REDIS_URL"], decode_responses=True) as client:
        yield client


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[MortalRedis]:
    """A Redis of the test's own, to stop and to hang."""
    with Devnet(tmp_path / "devnet", environ=outside_settings()) as own:
        own.up(["redis"])
        redis_server = MortalRedis(own)
        yield redis_server
        redis_server.go_on()


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is said of a Redis that is away."""
    logger, said = logging.getLogger("app.clients.sharing"), []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    keeper = Keeper(logging.WARNING)
    logger.addHandler(keeper)
    yield said
    logger.removeHandler(keeper)


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to Redis from now on, one entry a round trip."""
    sent: list[str] = []
    send = Connection.send_packed_command

    def counted(self: Connection, command: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(repr(command)[:60])
        return send(self, command, *arguments, **options)

    monkeypatch.setattr(Connection, "send_packed_command", counted)
    return sent


@pytest.fixture
def start(clean_devnet: Devnet) -> Iterator[Start]:
    """Starts the application; each start replaces the one before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    started: list[Probes] = []

    def begin(**settings: Any) -> Probes:
        for earlier in started:
            earlier.close()
        environ = {k: v for k, v in clean_devnet.env.items() if k not in GENEROUS_LIMITS}
        started[:] = [Probes({**environ, **settings})]
        return started[0]

    yield begin
    for each in started:
        each.close()
    extensions.get().redis.close()
    root.handlers[:] = handlers
    root.setLevel(level)
