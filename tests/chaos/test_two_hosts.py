"""Two web hosts and two worker hosts on one database and one Redis; one of each loses power.

Beat runs on both worker hosts. What was accepted before, during and after is registered once, and
the upkeep of the pool ran on one host at a time, by the logs of all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain.states import RecordStatus
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction, TransactionKind
from app.queue import Queue
from devnet.supervisor.ports import choose_port
from devnet.supervisor.site import CHECKOUT
from tests.chaos.conftest import SETTINGS
from tests.chaos.hosts import Host, Lan, lan, wait_for_port
from tests.chaos.processes import wait_until
from tests.chaos.stages import new_uid
from tests.chaos.steps import list_unfinished
from tests.chaos.workers import LEASES
from tests.integration.services.invariants import check_confirmed_once
from tests.integration.services.lab import Lab, Owner

WEBS, WORKERS = ("web-1", "web-2"), ("work-1", "work-2")
REGISTRATIONS, KILL_AFTER, THREADS, OUTPUTS = 200, 60, 8, 60
# So that no change is dust.
SATOSHIS = 20_000
START_SECONDS, END_SECONDS = 120.0, 150.0
CONFIGURATION = str(CHECKOUT / "deploy" / "gunicorn.conf.py")


class TwoHosts:
    """The service on four hosts."""

    def __init__(self, net: Lan, environ: dict[str, str], directory: Path) -> None:
        self.net = net
        self.port = choose_port(())
        self.directory = directory
        self._environ = net.seen_from_hosts(environ)

    def start(self) -> None:
        """Starts all processes at once; returns when all are there."""
        webs = {name: self._start_web(self.net.hosts[name]) for name in WEBS}
        for name in WORKERS:
            self._start_worker(self.net.hosts[name])
        for name, process in webs.items():
            wait_for_port(self.net.hosts[name].address, self.port, process, START_SECONDS)
        for name in WORKERS:
            log = self._log(name, "worker")
            wait_until(lambda log=log: " ready" in log.read_text(), seconds=START_SECONDS)

    @property
    def urls(self) -> list[str]:
        return [f"http://{self.net.hosts[name].address}:{self.port}" for name in WEBS]

    def lines(self, name: str, event: str) -> list[dict[str, Any]]:
        """What a worker host has logged of an event."""
        lines = self._log(name, "worker").read_text().splitlines()
        # The last one may have been cut off with the power.
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [line for line in found if line.get("event") == event]

    def _log(self, name: str, kind: str) -> Path:
        return self.directory / f"{name}-{kind}.log"

    def _start_web(self, host: Host) -> subprocess.Popen[bytes]:
        environ = {**self._environ, "WEB_BIND": f"{host.address}:{self.port}", "WEB_WORKERS": "1"}
        command = [sys.executable, "-m", "gunicorn", "--config", CONFIGURATION, "wsgi:app"]
        return host.start(command, environ, self._log(host.name, "web"))

    def _start_worker(self, host: Host) -> None:
        quick = [sys.executable, "-m", "tests.chaos.quick"]
        queues = ",".join(queue.value for queue in Queue)
        worker = [*quick, "worker", "--concurrency", "1", "--queues", queues]
        worker += ["--hostname", f"all@{host.name}", "--loglevel", "INFO"]
        schedule = str(self.directory / f"{host.name}-schedule")
        beat = [*quick, "beat", "--schedule", schedule, "--pidfile=", "--loglevel", "INFO"]
        log = self._log(host.name, "worker")
        log.touch()
        host.start([*worker, "--without-gossip", "--without-mingle"], self._environ, log)
        host.start(beat, self._environ, self._log(host.name, "beat"))


@pytest.fixture
def hosts(lab: Lab, tmp_path: Path) -> Iterator[TwoHosts]:
    # Before there is a beat, whose upkeep has the lock now and then.
    lab.fill_pool(OUTPUTS, SATOSHIS)
    environ = {**lab.env, **SETTINGS, **LEASES, "CLAIM_LEASE_SECONDS": "5"}
    with lan([*WEBS, *WORKERS], environ) as net:
        made = TwoHosts(net, environ, tmp_path)
        made.start()
        yield made


def order(hosts: TwoHosts, lab: Lab, uids: list[str]) -> str:
    return json.dumps(
        {
            "hosts": hosts.urls,
            "api_key": lab.env["API_KEY"],
            "uids": uids,
            "owner": Owner().address,
            "threads": THREADS,
        }
    )


def register_all(hosts: TwoHosts, lab: Lab, uids: list[str]) -> list[dict[str, Any]]:
    """Registers them; in the middle a web host and a worker host go."""
    command = [sys.executable, "-m", "tests.chaos.registering"]
    accepted: list[dict[str, Any]] = []
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(order(hosts, lab, uids))
        client.stdin.close()
        for line in client.stdout:
            accepted.append(json.loads(line))
            if len(accepted) == KILL_AFTER:
                hosts.net.hosts[WEBS[0]].cut()
                hosts.net.hosts[WORKERS[0]].cut()
        assert client.wait(60) == 0
    return accepted


def check_upkeep_ran_alone(hosts: TwoHosts) -> None:
    """Between a lock's being taken and given back nobody else has taken it, but from the dead."""
    lines = [
        (line["timestamp"], line["owner"], event, name)
        for name in WORKERS
        for event in ("lock.taken", "lock.given_back")
        for line in hosts.lines(name, event)
    ]
    ended = {owner for _, owner, event, _ in lines if event == "lock.given_back"}
    holder: tuple[str, str] | None = None
    for _, owner, event, name in sorted(lines):
        if event == "lock.taken":
            has_died = holder is not None and holder[1] == WORKERS[0] and holder[0] not in ended
            assert holder is None or has_died, "two hosts at upkeep at once"
            holder = (owner, name)
        else:
            assert holder == (owner, name), "given back by somebody else"
            holder = None


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_m13_two_hosts_lose_one_of_each_kind_and_nothing_else(lab: Lab, hosts: TwoHosts) -> None:
    uids = [new_uid() for _ in range(REGISTRATIONS)]

    accepted = register_all(hosts, lab, uids)

    assert sorted(each["uid"] for each in accepted) == sorted(uids)
    assert max(each["attempts"] for each in accepted) > 1, "nobody had to go to the other host"
    wait_until(lambda: not list_unfinished(lab), seconds=END_SECONDS, what="the end of all")
    records = list(AuthenticationRecord.objects)
    assert sorted(record.uid_tag_id for record in records) == sorted(uids)
    assert {record.status for record in records} == {RecordStatus.CONFIRMED.value}
    sent = ChainTransaction.objects(kind=TransactionKind.REGISTRATION.value, settled_at__ne=None)
    assert sent.count() == REGISTRATIONS
    # A lock that died with its host is free again after a minute.
    wait_until(lambda: bool(hosts.lines(WORKERS[1], "lock.given_back")), seconds=END_SECONDS)
    check_upkeep_ran_alone(hosts)
    hosts.net.hosts[WORKERS[1]].kill()
    check_confirmed_once(lab, records)
