"""The whole service under load, its parts killed at random, its chain lying at random."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests

from app.domain.states import RecordStatus
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.services import invariants, pool_sync
from demo.operator import Operator
from devnet.supervisor import PARTS, Devnet, PartState, processes
from devnet.supervisor.site import CHECKOUT, Site, open_site
from tests.chaos.clients import Clients
from tests.chaos.processes import wait_until
from tests.chaos.schedules import Event, draw
from tests.chaos.steps import let_maintenance_run_out, list_unfinished
from tests.integration.services.invariants import check_at_rest
from tests.integration.services.lab import PATIENCE, Lab

OVERRIDES = {
    **PATIENCE,
    "CLAIM_LEASE_SECONDS": "3",
    "TRACK_INTERVAL_SECONDS": "2",
    "CIRCUIT_SECONDS": "2",
    "UTXO_MIN_POOL": "20",
    "SPLIT_COOLDOWN_MS": "2000",
    "MAX_ANCHOR_ATTEMPTS": "20",
    "DB_SERVER_SELECTION_TIMEOUT_MS": "2000",
    "DB_SOCKET_TIMEOUT_MS": "5000",
}
COIN_SATOSHIS = 2_000_000
START_SECONDS = 120.0
SETTLE_SECONDS = 300.0
_PENDING = [RecordStatus.PENDING.value, RecordStatus.ANCHORING.value]


@dataclass(frozen=True)
class StormReport:
    """How a storm went; `problems` is empty where every promise was kept.

    `ended` counts the parts that have ended by themselves, because others were down.
    """

    seed: int
    kills: Mapping[str, int]
    ended: Mapping[str, int]
    lies: Mapping[str, int]
    answers: Mapping[str, int]
    promised: int
    confirmed: int
    failed: Mapping[str, int]
    transactions: Mapping[str, int]
    storm_seconds: float
    settle_seconds: float
    problems: tuple[str, ...]


class Storm:
    """One devnet with everything in it, and what happens to it."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._devnet = Devnet(directory, overrides=OVERRIDES)
        self._directory = directory
        self._seed = seed
        self._down: dict[str, float] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._kills: Counter[str] = Counter()
        self._lies: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()

    def run(self, kills: int, on_kill: Callable[[int], None]) -> StormReport:
        """Lets so many kills happen under load, waits for the end, and judges it."""
        with self._devnet:
            self._devnet.up(timeout_seconds=START_SECONDS)
            lab = Lab(self._devnet)
            lab.configure(**OVERRIDES)
            lab.begin()
            lab.fund(2, COIN_SATOSHIS)
            lab.mine()
            pool_sync.sync()
            try:
                return self._weather(lab, kills, on_kill)
            finally:
                lab.close()
                for child in self._children.values():
                    child.kill()
                    child.wait()

    def _weather(self, lab: Lab, kills: int, on_kill: Callable[[int], None]) -> StormReport:
        env = self._devnet.env
        token = Operator(env).issue_token("storm")
        clients = Clients(env["BASE_URL"], env["API_KEY"], token)
        clients.start()
        began = time.monotonic()
        for event in draw(self._seed, kills):
            self._sleep(event.pause_seconds)
            self._happen(event)
            on_kill(self._kills.total())
        clients.stop()
        calm = time.monotonic()
        self._calm_down(lab)
        problems = self._wait_for_the_end(lab)
        settled = time.monotonic()
        problems += _judge(lab, clients)
        records = AuthenticationRecord.objects
        failed = records(status=RecordStatus.FAILED.value)
        return StormReport(
            seed=self._seed,
            kills=dict(self._kills),
            ended=dict(self._ended),
            lies=dict(self._lies),
            answers=dict(clients.answers),
            promised=len(clients.promises),
            confirmed=records(status=RecordStatus.CONFIRMED.value).count(),
            failed=dict(Counter(failed.scalar("reason"))),
            transactions=dict(Counter(ChainTransaction.objects.scalar("status"))),
            storm_seconds=round(calm - began, 1),
            settle_seconds=round(settled - calm, 1),
            problems=tuple(problems),
        )

    def _sleep(self, seconds: float) -> None:
        """Waits, and starts again what has been down for long enough."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for part in [part for part, at in self._down.items() if at <= now]:
                self._start(part)
            self._notice_ended()
            time.sleep(0.05)

    def _notice_ended(self) -> None:
        """What has ended by itself is started again, as any supervisor would."""
        ended = [p for p, child in self._children.items() if child.poll() is not None]
        for part in {*ended, *self._devnet.list_ended()} - self._down.keys():
            self._ended[part] += 1
            self._put_down(part, 1.0)

    def _happen(self, event: Event) -> None:
        if event.action == "kill":
            self._kill(event.part, event.down_seconds)
        elif event.action == "lie":
            assert event.fault is not None
            self._lies[str(event.fault["kind"])] += 1
            self._control("POST", "faults", {"faults": [dict(event.fault)]})
        elif event.action == "tell the truth":
            self._control("DELETE", "faults")
        elif event.action == "mine":
            self._control("POST", "mine", {"blocks": 1})
        else:
            self._control("POST", "evict", {"txids": None})

    def _kill(self, part: str, down_seconds: float) -> None:
        self._kills[part] += 1
        self._put_down(part, down_seconds)

    def _put_down(self, part: str, down_seconds: float) -> None:
        self._devnet.kill(part)
        if child := self._children.pop(part, None):
            child.wait()
        self._down.setdefault(part, time.monotonic() + down_seconds)

    def _start(self, part: str) -> None:
        """Starts a part as its supervisor would, without waiting until it answers."""
        del self._down[part]
        site = self._site()
        member = PARTS[part]
        if part == "beat":
            member.prepare(site)
        self._children[part] = processes.spawn(
            member.command(site),
            environment=site.base_environment() | member.environment(site),
            directory=CHECKOUT,
            log_path=site.log_path(part),
            record_path=site.record_path(part),
            fingerprint="storm",
        )

    def _site(self) -> Site:
        return open_site(self._directory, self._devnet._environ, OVERRIDES)

    def _control(self, method: str, path: str, body: Any = None) -> None:
        """Tells the chain, if it is there."""
        if "chain" in self._down:
            return
        url = f"{self._devnet.env['CHAIN_CONTROL_URL']}/{path}"
        try:
            requests.request(method, url, json=body, timeout=5)
        except requests.RequestException:
            # It was just started again: the same as if it had been down.
            return

    def _calm_down(self, lab: Lab) -> None:
        """Starts whatever is down, waits until all answer, and has the chain tell the truth."""
        wait_until(self._is_ready, seconds=START_SECONDS, pause=0.5, what="every part ready")
        lab.configure(**OVERRIDES)
        lab.clear_faults()

    def _is_ready(self) -> bool:
        for part in list(self._down):
            self._start(part)
        self._notice_ended()
        return all(each.state is PartState.READY for each in self._devnet.status())

    def _wait_for_the_end(self, lab: Lab) -> list[str]:
        """Waits until nothing is under way, with a block now and then."""

        def is_over() -> bool:
            lab.mine()
            accepted = ChainTransaction.objects(status="accepted").count()
            return not list_unfinished(lab) and not accepted

        try:
            wait_until(is_over, seconds=SETTLE_SECONDS, pause=3.0, what="the end of the storm")
        except AssertionError as error:
            return [str(error), *list_unfinished(lab)[:20]]
        return []


def _judge(lab: Lab, clients: Clients) -> list[str]:
    """What is not as it was promised."""
    for part in ("beat", "worker"):
        lab.devnet.stop(part)
    let_maintenance_run_out(lab)
    pool_sync.sync()
    problems = [str(asdict(each)) for each in invariants.check().violations]
    try:
        check_at_rest(lab)
    except AssertionError as error:
        problems.append(f"not at rest: {error}")
    for promise in clients.promises:
        record = AuthenticationRecord.objects(id=promise.pending_id).first()
        if record is None:
            problems.append(f"{promise} is lost")
        elif record.status in _PENDING or (record.status == "failed" and not record.reason):
            problems.append(f"{promise} is {record.status}: {record.reason}")
    return problems
