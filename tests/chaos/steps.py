"""Kills a process at one point of a job, lets others clear up, and judges what is left."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from app import extensions
from app.domain.clock import utc_now
from app.domain.states import RecordStatus, UtxoStatus
from app.models.record import AuthenticationRecord
from app.models.setting import SPLIT_LEASE
from app.services import pool_sync, reaper, sweeper
from tests.chaos.processes import KILLED, Zygote
from tests.chaos.stages import Play, Stage
from tests.integration.services.invariants import (
    check_custody,
    check_money,
    check_records,
)
from tests.integration.services.lab import Lab

POOL_LOCK = "lock:pool"
_ROUNDS = 12
_LEASED: Mapping[str, Sequence[tuple[str, dict[str, Any]]]] = {
    "authentication_records": [
        ("claimed_at", {"status": RecordStatus.PENDING.value}),
        ("next_attempt_at", {"status": RecordStatus.PENDING.value}),
    ],
    "transactions": [
        ("next_attempt_at", {"settled_at": None}),
    ],
    "utxos": [("locked_at", {"status": UtxoStatus.LOCKED.value})],
}


@dataclass(frozen=True)
class Outcome:
    """What became of one kill, or of some in a row; `problem` is None where all was well."""

    stage: str
    points: Sequence[str]
    problem: str | None


class Theatre:
    """The lab of this process, the zygote of the others, and a place for traces.

    `in_a_row` processes die before somebody clears up after all of them, so that each meets the
    mess of those before it.
    """

    def __init__(self, lab: Lab, zygote: Zygote, directory: Path, *, in_a_row: int = 1) -> None:
        self.lab = lab
        self.zygote = zygote
        self._directory = directory
        self._in_a_row = in_a_row

    def discover(self, stage: Stage) -> list[str]:
        """Performs a job to its end; answers the points that it came by, in order."""
        trace = self._directory / f"{stage.name}.trace"
        trace.unlink(missing_ok=True)
        play = stage.prepare(self.lab)
        code = self.zygote.run(replace(play.job, trace=str(trace)))
        assert code == 0, f"{stage.name} ended with {code}, see {self.zygote.log_path}"
        self._clear_up(stage, [play])
        return trace.read_text(encoding="utf-8").splitlines()

    def kill_at_each(
        self, stage: Stage, points: Sequence[str], on_outcome: Callable[[Outcome], None]
    ) -> list[Outcome]:
        """Kills at each of these points in turn; answers what became of it."""
        outcomes = []
        for row in in_rows(points, self._in_a_row):
            outcomes.append(Outcome(stage.name, row, self._kill_at(stage, row)))
            on_outcome(outcomes[-1])
        return outcomes

    def _kill_at(self, stage: Stage, points: Sequence[str]) -> str | None:
        """Performs a job for each of the points, dies there, and has all of it cleared up."""
        try:
            plays = []
            for point in points:
                let_maintenance_run_out(self.lab)
                plays.append(stage.prepare(self.lab))
                code = self.zygote.run(replace(plays[-1].job, point=point))
                assert code == KILLED, f"not killed at {point!r} but ended with {code}"
            self._clear_up(stage, plays)
        except Exception:  # noqa: BLE001 - every problem is a result, and the next point is next
            return traceback.format_exc(limit=4)
        return None

    def _clear_up(self, stage: Stage, plays: Sequence[Play]) -> None:
        """Does what others do once the dead ones' leases are over."""
        let_maintenance_run_out(self.lab)
        for play in plays:
            play.mend()
        sweep_until_quiet(self.lab)
        if stage.is_synced:
            pool_sync.sync()
        if stage.is_repeated:
            code = self.zygote.run(plays[-1].job)
            assert code == 0, f"run again, {stage.name} ended with {code}"
            sweep_until_quiet(self.lab)
        judge(self.lab, plays)


def in_rows(points: Sequence[str], length: int) -> Iterator[list[str]]:
    """Cuts into rows of that length at most."""
    left = iter(points)
    while row := list(islice(left, length)):
        yield row


def sweep_until_quiet(lab: Lab) -> None:
    """Does what beat does, with the leases' time passing in between, until nothing is left."""
    for _ in range(_ROUNDS):
        pass_time(lab)
        if not reaper.reap() and sweeper.sweep().is_empty:
            return
    raise AssertionError(f"still not quiet after {_ROUNDS} rounds")


def pass_time(lab: Lab) -> None:
    """Lets an hour pass for whatever waits or is leased; what is settled stays as it is."""
    for name, leases in _LEASED.items():
        collection = lab.collection(name)
        for field, condition in leases:
            for row in collection.find({**condition, field: {"$ne": None}}, {field: 1}):
                earlier = {field: row[field] - timedelta(hours=1)}
                collection.update_one({"_id": row["_id"]}, {"$set": earlier})


def let_maintenance_run_out(lab: Lab) -> None:
    """Lets the time pass that a dead process's locks on upkeep last."""
    extensions.get().redis.delete(POOL_LOCK)
    lab.collection("settings").update_one(
        {"key": SPLIT_LEASE}, {"$set": {"value.until": utc_now()}}
    )


def judge(lab: Lab, plays: Sequence[Play]) -> None:
    """Asserts that every record is confirmed once, and that nothing is locked, lost or doubled."""
    check_money(lab)
    check_records()
    check_custody()
    uids = [uid for play in plays for uid in play.uids]
    statuses = set(AuthenticationRecord.objects(uid_tag_id__in=uids).scalar("status"))
    assert statuses <= {RecordStatus.CONFIRMED.value}, statuses
    for play in plays:
        assert play.must_end(), "the job's purpose was not reached"
