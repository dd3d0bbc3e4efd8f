"""Processes are recognised by number, session and time of their start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devnet.supervisor import processes

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
# The main thread ends alone, as the kernel may end it before the others of a killed process.
HEADLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = processes.spawn(
        SLEEP,
        environment=dict(os.environ),
        directory=tmp_path,
        log_path=tmp_path / "logs" / "sleep.log",
        record_path=tmp_path / "run" / "sleep",
        fingerprint="f00d",
    )
    yield process
    process.kill()
    process.wait()


def record_of(tmp_path: Path, name: str = "sleep") -> processes.Record:
    record = processes.find_record(tmp_path / "run" / name)
    assert record is not None
    return record


def test_a_process_writes_its_own_record(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    record = record_of(tmp_path)
    assert (record.pid, record.fingerprint) == (child.pid, "f00d")
    leader = processes.find_leader(record)
    assert leader is not None
    assert leader.pid == child.pid


def test_a_record_of_an_earlier_process_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    record_path = tmp_path / "run" / "true"
    record_path.parent.mkdir()
    record_path.write_text("1 f00d\n")
    process = processes.spawn(
        ["/bin/sh", "-c", "exit 3"],
        environment=dict(os.environ),
        directory=tmp_path,
        log_path=tmp_path / "true.log",
        record_path=record_path,
        fingerprint="beef",
    )
    assert record_of(tmp_path, "true") == processes.Record(
        process.pid, "beef", record_path.stat().st_mtime
    )
    assert process.wait(timeout=5) == 3


def test_a_process_that_can_not_be_recorded_does_not_run(tmp_path: Path) -> None:
    record_path = tmp_path / "record"
    record_path.symlink_to(tmp_path / "absent" / "record")
    process = processes.spawn(
        SLEEP,
        environment=dict(os.environ),
        directory=tmp_path,
        log_path=tmp_path / "sleep.log",
        record_path=record_path,
        fingerprint="beef",
    )
    assert process.wait(timeout=5) != 0


def test_stop_ends_it(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    processes.stop(record_of(tmp_path), grace_seconds=5)
    assert child.wait(timeout=5) == -15


def test_a_zombie_does_not_run(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    processes.kill(record_of(tmp_path))
    assert processes.find_leader(record_of(tmp_path)) is None
    assert processes.list_members(record_of(tmp_path)) == []


def test_a_zombie_with_a_thread_left_runs_until_that_has_ended(tmp_path: Path) -> None:
    process = processes.spawn(
        [sys.executable, "-c", HEADLESS],
        environment=dict(os.environ),
        directory=tmp_path,
        log_path=tmp_path / "headless.log",
        record_path=tmp_path / "run" / "headless",
        fingerprint="f00d",
    )
    watched = psutil.Process(process.pid)
    while watched.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)

    record = record_of(tmp_path, "headless")
    assert [member.pid for member in processes.list_members(record)] == [process.pid]
    processes.kill(record)
    assert processes.list_members(record) == []
    assert process.wait(timeout=5) == -9


def test_another_process_of_the_same_number_is_left_alone(
    child: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "run" / "sleep"
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))
    record = record_of(tmp_path)
    assert processes.find_leader(record) is None
    assert processes.list_members(record) == []
    processes.stop(record, grace_seconds=1)
    assert child.poll() is None


@pytest.mark.parametrize("text", ["", "12", "x f00d", "1 2 3"])
def test_an_unfinished_record_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record"
    path.write_text(text)
    assert processes.find_record(path) is None


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert processes.find_record(tmp_path / "absent") is None
