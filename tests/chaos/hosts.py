"""Hosts with addresses of their own: network namespaces on a bridge, or addresses of the loopback.

Where namespaces are not permitted a host is a set of processes that listen on another address of
127.0.0.0/8; everything but the cut cable is the same.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import psutil

from devnet.supervisor.site import CHECKOUT

_LOOPBACK = "127.0.0.1"


@dataclass
class Host:
    """Processes that see one address as theirs."""

    name: str
    address: str
    prefix: Sequence[str] = ()
    cable: str | None = None
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(
        self, command: Sequence[str], environ: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self.prefix, *command],
                cwd=CHECKOUT,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.started.append(process)
        return process

    def cut(self) -> None:
        """Takes the host from the net and then its power, so that no goodbye gets out."""
        if self.cable is not None:
            _ip("link", "set", self.cable, "down")
        self.kill()

    def kill(self) -> None:
        for process in self.started:
            family = []
            with suppress(psutil.NoSuchProcess):
                family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for child in family:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            process.wait()
        self.started.clear()


@dataclass(frozen=True)
class Lan:
    """Some hosts, and where they find what runs beside them on the loopback interface."""

    hosts: Mapping[str, Host]
    gateway: str

    def seen_from_hosts(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment with the addresses that the hosts reach its services by."""
        return {name: value.replace(_LOOPBACK, self.gateway) for name, value in environ.items()}


@contextmanager
def lan(names: Sequence[str], environ: Mapping[str, str]) -> Iterator[Lan]:
    """Hosts of these names, in namespaces where this machine permits them."""
    has_namespaces = _can_make_namespaces()
    with _bridged(names, environ) if has_namespaces else _looped(names) as made:
        try:
            yield made
        finally:
            for host in made.hosts.values():
                host.kill()


@contextmanager
def _looped(names: Sequence[str]) -> Iterator[Lan]:
    second, third = random.SystemRandom().sample(range(10, 250), 2)
    yield Lan(
        {
            name: Host(name, f"127.{second}.{third}.{number}")
            for number, name in enumerate(names, 2)
        },
        _LOOPBACK,
    )


@contextmanager
def _bridged(names: Sequence[str], environ: Mapping[str, str]) -> Iterator[Lan]:
    tag = os.urandom(4).hex()
    bridge, subnet = f"pp{tag}", _free_subnet()
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{subnet}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        hosts = {
            name: _plug_in(name, f"pp{tag}{number}", bridge, f"{subnet}.{number}")
            for number, name in enumerate(names, 2)
        }
        with _forwarding(f"{subnet}.1", environ):
            yield Lan(hosts, f"{subnet}.1")
    finally:
        for number, _ in enumerate(names, 2):
            # Connections that were cut keep a namespace for a while, and its cable with it.
            _ip("link", "del", f"pp{tag}{number}", is_needed=False)
            _ip("netns", "del", f"pp{tag}{number}", is_needed=False)
        _ip("link", "del", bridge, is_needed=False)


def _plug_in(name: str, namespace: str, bridge: str, address: str) -> Host:
    # A name of an interface has 15 letters at most.
    _ip("netns", "add", namespace)
    _ip("link", "add", namespace, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _ip("link", "set", namespace, "master", bridge, "up")
    for words in (
        ("addr", "add", f"{address}/24", "dev", "eth0"),
        ("link", "set", "eth0", "up"),
        ("link", "set", "lo", "up"),
    ):
        _ip("-n", namespace, *words)
    return Host(name, address, ("ip", "netns", "exec", namespace), namespace)


@contextmanager
def _forwarding(address: str, environ: Mapping[str, str]) -> Iterator[None]:
    """What the environment names on the loopback interface answers at this address too."""
    command = [sys.executable, "-m", "tests.chaos.forwarding", address, *_ports(environ)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        try:
            _expect(process.stdout, "ready")
            yield
        finally:
            process.kill()


def _expect(output: IO[str] | None, word: str) -> None:
    assert output is not None
    assert output.readline().strip() == word


def _ports(environ: Mapping[str, str]) -> list[str]:
    urls = [urlsplit(value) for value in environ.values() if _LOOPBACK in value and "://" in value]
    return sorted({str(url.port) for url in urls if url.port})


def _free_subnet() -> str:
    """Three numbers of an address in 198.18.0.0/15, which is for tests alone, that nobody has."""
    command = ["ip", "-4", "addr"]
    taken = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    choice = random.SystemRandom()
    while True:
        subnet = f"198.{choice.choice((18, 19))}.{choice.randrange(256)}"
        if f"{subnet}." not in taken:
            return subnet


def _can_make_namespaces() -> bool:
    tag = f"pp{os.urandom(4).hex()}"
    try:
        is_made = _ip("netns", "add", tag, is_needed=False)
        is_bridged = is_made and _ip("link", "add", tag, "type", "bridge", is_needed=False)
    except FileNotFoundError:
        return False
    _ip("link", "del", tag, is_needed=False)
    _ip("netns", "del", tag, is_needed=False)
    return is_bridged


def _ip(*words: str, is_needed: bool = True) -> bool:
    command = ["ip", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not is_needed, f"ip {' '.join(words)}: {done.stderr}"
    return done.returncode == 0


def wait_for_port(
    address: str, port: int, process: subprocess.Popen[bytes], seconds: float
) -> None:
    """Returns when something listens there; asked by a process of its own, which may connect."""
    deadline = time.monotonic() + seconds
    ask = f"import socket; socket.create_connection(({address!r}, {port}), 1).close()"
    while subprocess.run([sys.executable, "-c", ask], capture_output=True, check=False).returncode:
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < deadline, f"nothing listens on {address}, port {port}"
        time.sleep(0.2)
