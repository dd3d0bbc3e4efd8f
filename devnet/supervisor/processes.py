"""Processes that outlive the one that started them, found again by a file.

Each is the leader of a session of its own. A small shell writes the file before it becomes the
program, so a process without its file does not exist, whenever its starter is killed.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from devnet.supervisor.files import make_private_directory

# The file is written within milliseconds of the start. A process with this number that started
# at another time is somebody else's; the slack is for clocks that are set meanwhile.
CLOCK_SLACK_SECONDS = 30.0
KILL_SECONDS = 5.0
LAUNCHER = 'printf "%s %s\\n" "$$" "$2" > "$1" && shift 2 && exec "$@"'


@dataclass(frozen=True)
class Record:
    """What the file says: the leader's number, what it was started with, and when."""

    pid: int
    fingerprint: str
    recorded_at: float


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    log_path: Path,
    record_path: Path,
    fingerprint: str,
) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, its output appended to the log.

    Returns once the record is there, so that whoever stops next finds the process.
    """
    make_private_directory(record_path.parent)
    make_private_directory(log_path.parent)
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", LAUNCHER, "sh", str(record_path), fingerprint, *command],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while not _is_recorded(process, record_path) and process.poll() is None:
        time.sleep(0.005)
    return process


def find_record(path: Path) -> Record | None:
    try:
        words = path.read_text(encoding="utf-8").split()
        recorded_at = path.stat().st_mtime
    except FileNotFoundError:
        return None
    if len(words) != 2 or not words[0].isdigit():
        return None
    return Record(int(words[0]), words[1], recorded_at)


def find_leader(record: Record) -> psutil.Process | None:
    """The recorded process while it runs; a zombie or another one of its number is not it."""
    try:
        process = psutil.Process(record.pid)
        if abs(process.create_time() - record.recorded_at) > CLOCK_SLACK_SECONDS:
            return None
        return process if _is_running(process) else None
    except psutil.NoSuchProcess:
        return None


def list_members(record: Record) -> list[psutil.Process]:
    """Every running process of the recorded session, the leader too.

    A number is not given out again while a session still has it as its name, so members whose
    leader is gone are recognised as safely as the leader itself.
    """
    if _is_taken_over(record):
        return []
    return [process for process in psutil.process_iter() if _is_member(process, record.pid)]


def stop(record: Record, *, grace_seconds: float) -> None:
    """End the session: the leader is asked first, whatever is left after the grace is killed."""
    leader = find_leader(record)
    if leader is not None:
        _signal([leader], "terminate")
        _wait([leader], grace_seconds)
    kill(record)


def kill(record: Record) -> None:
    """End the session at once, with what it starts meanwhile."""
    deadline = time.monotonic() + KILL_SECONDS
    while (members := list_members(record)) and time.monotonic() < deadline:
        _signal(members, "kill")
        _wait(members, seconds=1.0)


def _is_recorded(process: subprocess.Popen[bytes], path: Path) -> bool:
    record = find_record(path)
    return record is not None and record.pid == process.pid


def _is_running(process: psutil.Process) -> bool:
    """A zombie with threads left still holds its files: its port is not free yet."""
    try:
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        return process.is_running() and (not is_zombie or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False


def _is_taken_over(record: Record) -> bool:
    try:
        process = psutil.Process(record.pid)
        return _is_running(process) and find_leader(record) is None
    except psutil.NoSuchProcess:
        return False


def _is_member(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and _is_running(process)
    except (ProcessLookupError, PermissionError):
        return False


def _signal(processes: Iterable[psutil.Process], verb: str) -> None:
    for process in processes:
        try:
            getattr(process, verb)()
        except psutil.NoSuchProcess:
            continue


def _wait(processes: Sequence[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(_is_running(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.02)
