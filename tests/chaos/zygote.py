"""A process that has everything imported and forks others from itself, within milliseconds.

`python -m tests.chaos.zygote` reads one JSON command a line and answers each with one line:
`{"start": {...}}` answers `{"pid": n}`, `{"wait": pid}` answers `{"code": n}`, -9 if killed.
It has no connections and no threads of its own, so its children begin as clean as any process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from app import extensions, logs
from app.config import load_settings
from app.errors import PatchProofError
from app.services import batches, registration
from tasks.worker import app
from tests.chaos import points, quick
from tests.chaos.processes import ACCEPT, BATCH, REFUSED

ENDS = {
    "kill": points.die,
    "kill_with_parent": points.die_with_parent,
    "stop": points.fall_asleep,
}


def main() -> None:
    """Serves until the standard input ends; whoever still runs then, or sleeps, ends as well."""
    app.loader.import_default_modules()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    running: set[int] = set()
    try:
        for line in sys.stdin:
            answer = _obey(json.loads(line), running)
            sys.stdout.write(f"{json.dumps(answer)}\n")
            sys.stdout.flush()
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            # Each was the head of a session, with others in it perhaps.
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _obey(command: Mapping[str, Any], running: set[int]) -> dict[str, int]:
    if "start" in command:
        pid = _start(command["start"])
        running.add(pid)
        return {"pid": pid}
    pid, status = os.waitpid(command["wait"], 0)
    running.discard(pid)
    return {"code": os.waitstatus_to_exitcode(status)}


def _start(job: Mapping[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _become_own_process()
        _run(job)
    except PatchProofError as error:
        print(f"refused: {error}")
        os._exit(REFUSED)
    except SystemExit as error:
        os._exit(error.code if isinstance(error.code, int) else 1)
    except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _become_own_process() -> None:
    """Leaves the session, the pipes and the manners of the zygote."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)


def _run(job: Mapping[str, Any]) -> None:
    os.environ.update(job["environment"])
    if job["trace"]:
        points.watch(points.writing_to(Path(job["trace"])))
    elif job["point"]:
        points.watch(points.ending_at(job["point"], end=ENDS[job["end"]]))
    if job["celery"]:
        quick.run_celery(job["celery"])
    else:
        _run_task(job)


def _run_task(job: Mapping[str, Any]) -> None:
    """Does one task, with connections of its own."""
    extensions.init(load_settings())
    time.sleep(max(0.0, job["not_before"] - time.time()))
    logs.request_id.set(job["request_id"])
    if job["task"] == ACCEPT:
        _accept(**job["arguments"])
    elif job["task"] == BATCH:
        batches.anchor_waiting()
    else:
        app.tasks[job["task"]](**job["arguments"])


def _accept(uid: str, owner: str) -> None:
    registration.register(
        product={"uid_tag_id": uid, "name": "Rain jacket"},
        metadata={"notes": "blue, size M"},
        owner=owner,
    )


if __name__ == "__main__":
    main()
