"""Brings parts from not running to answering."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from devnet.supervisor import processes
from devnet.supervisor.errors import DevnetError, PartFailedError, StartCancelledError
from devnet.supervisor.parts import Part
from devnet.supervisor.site import CHECKOUT, Site

LOG_LIMIT_BYTES = 20_000_000
POLL_SECONDS = 0.05


@dataclass
class Starter:
    """One round of starts with a common deadline. The first failure gives up the others."""

    site: Site
    deadline: float
    grace_seconds: float
    children: dict[str, subprocess.Popen[bytes]]
    cancelled: threading.Event = field(default_factory=threading.Event)

    def ensure_ready(self, part: Part) -> bool:
        """Start the part unless it runs as it should; True when a process was started."""
        try:
            is_started = not part.is_external(self.site) and self._ensure_running(part)
            self._wait_until_ready(part)
        except StartCancelledError:
            raise
        except (DevnetError, OSError) as error:
            self.cancelled.set()
            log_path = self.site.log_path(part.name)
            raise PartFailedError(part.name, str(error), log_path) from error
        return is_started

    def _ensure_running(self, part: Part) -> bool:
        command, environment = part.command(self.site), part.environment(self.site)
        fingerprint = _fingerprint(command, environment)
        record_path = self.site.record_path(part.name)
        record = processes.find_record(record_path)
        if record is not None:
            if processes.find_leader(record) and record.fingerprint == fingerprint:
                return False
            processes.stop(record, grace_seconds=self.grace_seconds)
            self._reap(part)
        part.prepare(self.site)
        self._raise_if_cancelled()
        log_path = self.site.log_path(part.name)
        if log_path.exists() and log_path.stat().st_size > LOG_LIMIT_BYTES:
            log_path.replace(log_path.with_suffix(".log.1"))
        self.children[part.name] = processes.spawn(
            command,
            environment=self.site.base_environment() | environment,
            directory=CHECKOUT,
            log_path=log_path,
            record_path=record_path,
            fingerprint=fingerprint,
        )
        return True

    def _reap(self, part: Part) -> None:
        child = self.children.pop(part.name, None)
        if child is not None:
            child.wait(timeout=self.grace_seconds)

    def _wait_until_ready(self, part: Part) -> None:
        while True:
            problem = part.find_problem(self.site)
            child = self.children.get(part.name)
            if child is not None and child.poll() is not None:
                raise DevnetError(f"it ended with exit code {child.returncode}")
            if problem is None:
                return
            self._raise_if_cancelled()
            if time.monotonic() > self.deadline:
                raise DevnetError(f"{problem} within the time allowed")
            time.sleep(POLL_SECONDS)

    def _raise_if_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise StartCancelledError


def _fingerprint(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Names what a part is started with, so that a changed address is noticed."""
    text = json.dumps([list(command), sorted(environment.items())])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]
