"""Stands in for Prometheus beside the running system: scrapes it, and evaluates our rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml

from tests.e2e.system import System
from tests.promql import Alert, Recording, evaluate, parse_seconds

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
# A scrape waits for a part that hangs, as long as prometheus.yml lets it.
SCRAPE_SECONDS = 20.0
PATIENCE_SECONDS = 60.0
STEP_SECONDS = 60.0


def load_rules() -> dict[str, dict[str, Any]]:
    """Every alerting rule by its name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


class Watch:
    """Records scrapes by a clock that starts now and can be put forward."""

    def __init__(self, system: System, names: Iterable[str]) -> None:
        rules = load_rules()
        self.alerts = {
            name: Alert(name, rules[name]["expr"], parse_seconds(rules[name].get("for", "0s")))
            for name in names
        }
        self._system = system
        self._recording = Recording(job="patchproof", instance="web")
        self._ahead = 0.0
        self._last = 0.0
        self.is_web_frozen = False

    def put_forward(self, seconds: float) -> None:
        """Lets time go by in which nothing happens."""
        self._ahead += seconds

    def scrape(self) -> float:
        """Records what the system shows now; answers the time on the test's clock."""
        text = self._fetch()
        self._last = max(time.time() + self._ahead, self._last + 0.001)
        self._recording.add(self._last, text)
        return self._last

    def look(self) -> dict[str, list[dict[str, str]]]:
        """Scrapes and evaluates once: what fires, with its labels."""
        at = self.scrape()
        return {name: alert.look(self._recording, at) for name, alert in self.alerts.items()}

    @property
    def held(self) -> set[str]:
        """Alerts whose expression held when it was evaluated last."""
        return {name for name, alert in self.alerts.items() if alert.since}

    def wait_until_calm(self) -> None:
        """Waits until no condition is seen: numbers of the database are some seconds old."""
        wait_until(lambda: self.look() is not None and not self.held, "no condition at all")

    def wait_until_held(self) -> None:
        """Waits, in real time, until the condition of each alert is seen."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.held != set(self.alerts):
            missing = set(self.alerts) - self.held
            assert time.monotonic() < deadline, f"no condition of {missing}"
            time.sleep(0.2)
            self.look()

    def fire(self) -> dict[str, list[dict[str, str]]]:
        """Goes on, minute by minute, as long as the rules want; answers what fires at the end."""
        fired: dict[str, list[dict[str, str]]] = {}
        deadline = time.monotonic() + PATIENCE_SECONDS
        # A web process may still show what it has asked the signer some seconds ago.
        while set(fired) != set(self.alerts) and time.monotonic() < deadline:
            self.put_forward(STEP_SECONDS)
            fired |= {name: labels for name, labels in self.look().items() if labels}
        return fired

    def value(self, expression: str) -> float | None:
        """The one sample of an expression, None without any."""
        found = evaluate(expression, self._recording, self.scrape())
        return next(iter(found.values()), None)

    def _fetch(self) -> str | None:
        seconds = 0.5 if self.is_web_frozen else SCRAPE_SECONDS
        try:
            answer = requests.get(self._system.exports["BASE_URL"] + "/metrics", timeout=seconds)
        except requests.RequestException:
            return None
        return answer.text if answer.status_code == 200 else None


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"waited for: {what}"
        time.sleep(0.1)


def rows(system: System, collection: str) -> Any:
    return system.database[system.exports["DB_NAME"]][collection]


def check_up(system: System) -> None:
    """Has a worker make a checkup, and waits until it is kept."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    system.celery.send_task("check-invariants", queue="maintenance")

    def is_kept() -> bool:
        found = rows(system, "settings").find_one({"key": "CHECKUP"})
        return bool(found) and found["updated_at"].replace(tzinfo=UTC) > before

    wait_until(is_kept, "a checkup")


@contextmanager
def frozen(system: System, *parts: str) -> Iterator[None]:
    """Stops the processes of these parts where they are, and lets them go on at the end."""
    leaders = [psutil.Process(s.pid) for s in system.net.status() if s.part in parts and s.pid]
    stopped = [p for leader in leaders for p in (leader, *leader.children(recursive=True))]
    assert len(leaders) == len(parts)
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            process.resume()
