"""A devnet as one thing: up, down, and what its parts do meanwhile."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from devnet.supervisor import processes
from devnet.supervisor.errors import (
    DevnetError,
    PartFailedError,
    ProductionRefusedError,
    StartCancelledError,
)
from devnet.supervisor.files import exclusive
from devnet.supervisor.interruption import uninterrupted
from devnet.supervisor.parts import PARTS, Part
from devnet.supervisor.site import CHECKOUT, Site, open_site, read_exports
from devnet.supervisor.starting import Starter
from devnet.supervisor.status import PartState, PartStatus

DEFAULT_DIRECTORY = CHECKOUT / "var" / "devnet"
START_SECONDS = 60.0
GRACE_SECONDS = 10.0


def _ignore(part: str, seconds: float) -> None:
    """Nobody watches the start."""


class Devnet:
    """The processes of one directory. Any number of devnets run side by side.

    `overrides` are settings for the application's parts that win over the devnet's own.
    """

    def __init__(
        self,
        directory: Path = DEFAULT_DIRECTORY,
        *,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self._environ = dict(os.environ if environ is None else environ)
        self._overrides = dict(overrides or {})
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.down()

    @property
    def env(self) -> dict[str, str]:
        """The exports of the last `up`."""
        return read_exports(self._site().env_path)

    def up(
        self,
        parts: Iterable[str] | None = None,
        *,
        timeout_seconds: float = START_SECONDS,
        mine_interval_seconds: float | None = None,
        on_ready: Callable[[str, float], None] = _ignore,
    ) -> list[str]:
        """Start what does not run, wait until everything asked for answers, name what started.

        When a part fails, or the caller interrupts, everything is stopped again. Raises
        ProductionRefusedError or PartFailedError.
        """
        if self._environ.get("APP_ENV") == "production":
            raise ProductionRefusedError
        chosen = _choose(parts)
        site = self._site()
        with exclusive(site.lock_path):
            site = self._site()
            if mine_interval_seconds is not None:
                site.state["mine_interval_seconds"] = mine_interval_seconds
            try:
                return self._start(site, chosen, timeout_seconds, on_ready)
            except BaseException:
                with uninterrupted():
                    self._stop(site)
                raise

    def status(self) -> list[PartStatus]:
        """Ask every part once."""
        site = self._site()
        with ThreadPoolExecutor(len(PARTS)) as pool:
            return list(pool.map(lambda part: self._status_of(site, part), PARTS.values()))

    def down(self) -> list[str]:
        """Stop everything, in the reverse of the starting order; name what was running."""
        site = self._site()
        with exclusive(site.lock_path), uninterrupted():
            return self._stop(site)

    def start(self, part: str) -> None:
        """Start one part and wait until it answers."""
        self.up([part])

    def stop(self, part: str) -> None:
        """Stop one part and leave the others."""
        site = self._site()
        self._stop_part(site, PARTS[part])

    def kill(self, part: str) -> None:
        """End one part's processes at once, as a crash does."""
        record = processes.find_record(self._site().record_path(part))
        if record is not None:
            processes.kill(record)
        self._reap(part)

    def is_running(self) -> bool:
        """Whether any part runs."""
        site = self._site()
        return any(_is_running(site, part) for part in PARTS.values())

    def list_ended(self) -> dict[str, int]:
        """Exit codes of the processes that this object started and that have ended since."""
        codes = {part: child.poll() for part, child in self._children.items()}
        return {part: code for part, code in codes.items() if code is not None}

    def log_path(self, part: str) -> Path:
        return self._site().log_path(part)

    def _site(self) -> Site:
        return open_site(self.directory, self._environ, self._overrides)

    def _start(
        self,
        site: Site,
        parts: Sequence[Part],
        timeout_seconds: float,
        on_ready: Callable[[str, float], None],
    ) -> list[str]:
        site.choose_ports(
            part.name
            for part in parts
            if part.has_port and not part.is_external(site) and not _is_running(site, part)
        )
        site.make_secrets()
        deadline = time.monotonic() + timeout_seconds
        starter = Starter(site, deadline, GRACE_SECONDS, self._children)
        started: list[str] = []
        for wave in sorted({part.wave for part in parts}):
            members = [part for part in parts if part.wave == wave]
            started += _start_wave(starter, members, on_ready)
            site.write_exports()
        self._raise_for_ended(site, started)
        return started

    def _raise_for_ended(self, site: Site, started: Sequence[str]) -> None:
        ended = self.list_ended()
        for part in started:
            if part in ended:
                reason = f"it ended with exit code {ended[part]}"
                raise PartFailedError(part, reason, site.log_path(part))

    def _status_of(self, site: Site, part: Part) -> PartStatus:
        if part.is_external(site):
            problem = part.find_problem(site)
            return PartStatus(part.name, PartState.EXTERNAL, None, None, None, problem)
        record = processes.find_record(site.record_path(part.name))
        leader = processes.find_leader(record) if record is not None else None
        port = site.port(part.name) if part.has_port and site.has_port(part.name) else None
        log = str(site.log_path(part.name))
        if leader is None:
            return PartStatus(part.name, PartState.STOPPED, None, port, log, "it does not run")
        problem = part.find_problem(site)
        state = PartState.READY if problem is None else PartState.UNREADY
        return PartStatus(part.name, state, leader.pid, port, log, problem)

    def _stop(self, site: Site) -> list[str]:
        stopped: list[str] = []
        for wave in sorted({part.wave for part in PARTS.values()}, reverse=True):
            members = [part for part in PARTS.values() if part.wave == wave]
            with ThreadPoolExecutor(len(members)) as pool:
                results = list(pool.map(lambda part: self._stop_part(site, part), members))
            stopped += [part.name for part, ran in zip(members, results, strict=True) if ran]
        return stopped

    def _stop_part(self, site: Site, part: Part) -> bool:
        path = site.record_path(part.name)
        record = processes.find_record(path)
        was_running = record is not None and bool(processes.list_members(record))
        if record is not None:
            processes.stop(record, grace_seconds=GRACE_SECONDS)
            path.unlink(missing_ok=True)
        self._reap(part.name)
        return was_running

    def _reap(self, part: str) -> None:
        child = self._children.pop(part, None)
        if child is not None:
            child.wait(timeout=GRACE_SECONDS)


def _choose(names: Iterable[str] | None) -> list[Part]:
    wanted = set(PARTS if names is None else names)
    if unknown := wanted - PARTS.keys():
        raise DevnetError(
            f"There is no part named {', '.join(sorted(unknown))}: "
            f"the parts are {', '.join(PARTS)}."
        )
    return [part for part in PARTS.values() if part.name in wanted]


def _is_running(site: Site, part: Part) -> bool:
    record = processes.find_record(site.record_path(part.name))
    return record is not None and processes.find_leader(record) is not None


def _start_wave(
    starter: Starter, parts: Sequence[Part], on_ready: Callable[[str, float], None]
) -> list[str]:
    begun = time.monotonic()

    def start(part: Part) -> bool:
        is_started = starter.ensure_ready(part)
        on_ready(part.name, time.monotonic() - begun)
        return is_started

    with ThreadPoolExecutor(len(parts)) as pool:
        futures = [pool.submit(start, part) for part in parts]
        try:
            return [
                part.name for part, future in zip(parts, futures, strict=True) if future.result()
            ]
        except StartCancelledError:
            failures = [future.exception() for future in futures]
            raise next(e for e in failures if isinstance(e, PartFailedError)) from None
        except BaseException:
            starter.cancelled.set()
            raise
