"""Kills a process at one point of a job, lets others clear up, and judges what is left."""

from __future__ import annotations

import os
import signal
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
from app.services import batches, invariants, maintenance, pool_sync, reaper, sweeper
from tests.chaos.processes import KILLED, Job, Zygote, is_asleep_or_over, wait_until
from tests.chaos.stages import Play, Stage
from tests.integration.services.invariants import (
    check_custody,
    check_money,
    check_records,
)
from tests.integration.services.lab import Lab

LOCKS = (f"lock:{maintenance.POOL}", f"lock:{batches.LOCK}")
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
_UNFINISHED: Mapping[str, dict[str, Any]] = {
    "authentication_records": {"next_attempt_at": {"$exists": True}},
    "transactions": {"next_attempt_at": {"$exists": True}, "settled_at": None},
    "utxos": {"status": UtxoStatus.LOCKED.value},
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
        self._mend(stage, [play])
        judge(self.lab, [play])
        return trace.read_text(encoding="utf-8").splitlines()

    def kill_at_each(
        self, stage: Stage, points: Sequence[str], on_outcome: Callable[[Outcome], None]
    ) -> None:
        """Kills at each of these points in turn and says what became of it."""
        for row in self._in_rows(stage, points):
            on_outcome(Outcome(stage.name, row, _problem_of(self._kill, stage, row)))

    def stop_at_each(
        self, stage: Stage, points: Sequence[str], on_outcome: Callable[[Outcome], None]
    ) -> None:
        """Has processes fall asleep there, outlives their leases, wakes them and says how it was.

        Meanwhile others have done all that was to be done.
        """
        for row in self._in_rows(stage, points):
            on_outcome(Outcome(stage.name, row, _problem_of(self._stop, stage, row)))

    def _in_rows(self, stage: Stage, points: Sequence[str]) -> Iterator[list[str]]:
        left = iter(points)
        while row := list(islice(left, 1 if stage.is_alone else self._in_a_row)):
            yield row

    def _kill(self, stage: Stage, points: Sequence[str]) -> None:
        plays = []
        for point in points:
            let_maintenance_run_out(self.lab)
            plays.append(stage.prepare(self.lab))
            code = self.perform(replace(plays[-1].job, point=point))
            assert code == KILLED, f"not killed at {point!r} but ended with {code}"
        self._mend(stage, plays)
        judge(self.lab, plays)

    def _stop(self, stage: Stage, points: Sequence[str]) -> None:
        plays, sleepers = [], []
        for point in points:
            let_maintenance_run_out(self.lab)
            plays.append(stage.prepare(self.lab))
            job = replace(plays[-1].job, point=point, end="stop")
            sleepers.append(self.zygote.start(job))
            wait_until(lambda: is_asleep_or_over(sleepers[-1]), what=f"asleep at {point!r}")
        self._mend(stage, plays)
        codes = [self.wake(pid) for pid in sleepers]
        assert not any(codes), f"awake, they ended with {codes}, see {self.zygote.log_path}"
        self._mend(stage, plays)
        judge(self.lab, plays)

    def wake(self, pid: int) -> int:
        """Has a sleeper go on to its end; answers how it ended."""
        os.kill(pid, signal.SIGCONT)
        return self.zygote.wait(pid)

    def _mend(self, stage: Stage, plays: Sequence[Play]) -> None:
        let_maintenance_run_out(self.lab)
        for play in plays:
            play.mend()
        self.clear_up(stage, plays)

    def perform(self, job: Job) -> int:
        """Runs a job in a process of its own; answers how it ended."""
        return self.zygote.run(job)

    def clear_up(self, stage: Stage, plays: Sequence[Play]) -> None:
        """Does what others do once the dead ones' leases are over."""
        sweep_until_quiet(self.lab)
        if stage.is_synced:
            pool_sync.sync()
        if stage.is_repeated:
            code = self.zygote.run(plays[-1].job)
            assert code == 0, f"run again, {stage.name} ended with {code}"
            sweep_until_quiet(self.lab)


def _problem_of(
    act: Callable[[Stage, Sequence[str]], None], stage: Stage, points: Sequence[str]
) -> str | None:
    try:
        act(stage, points)
    except Exception:  # noqa: BLE001 - every problem is a result, and the next point is next
        return traceback.format_exc(limit=4)
    return None


def sweep_until_quiet(lab: Lab) -> None:
    """Does what beat does, with the leases' time passing in between, until nothing is left."""
    for _ in range(_ROUNDS):
        pass_time(lab)
        reaper.reap()
        sweeper.sweep()
        if not (left := list_unfinished(lab)):
            return
    raise AssertionError(f"not over after {_ROUNDS} rounds: {left}")


def list_unfinished(lab: Lab) -> list[str]:
    """Whatever is still on its way, or locked."""
    return [
        f"{name} {row['_id']} {row['status']}"
        for name, condition in _UNFINISHED.items()
        for row in lab.collection(name).find(condition, {"status": 1})
    ]


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
    extensions.get().redis.delete(*LOCKS)
    lab.collection("settings").update_one(
        {"key": SPLIT_LEASE}, {"$set": {"value.until": utc_now()}}
    )


def judge(lab: Lab, plays: Sequence[Play]) -> None:
    """Asserts that every record is confirmed once, and that nothing is locked, lost or doubled."""
    check_money(lab)
    check_records()
    check_custody()
    assert not invariants.check().violations
    uids = [uid for play in plays for uid in play.uids]
    statuses = set(AuthenticationRecord.objects(uid_tag_id__in=uids).scalar("status"))
    assert statuses <= {RecordStatus.CONFIRMED.value}, statuses
    for play in plays:
        assert play.must_end(), "the job's purpose was not reached"
