"""`manage.py devnet` as a person and a program use it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from devnet.supervisor import Devnet, PartState

ROOT = Path(__file__).resolve().parents[3]
LIGHT = ["--only", "redis,mail"]
Manage = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Survivors = Callable[[list[int]], list[int]]


@pytest.fixture
def command(own_devnet: Devnet) -> Callable[..., list[str]]:
    def build(verb: str, *words: str) -> list[str]:
        directory = str(own_devnet.directory)
        return [sys.executable, "manage.py", "devnet", verb, "--dir", directory, *words]

    return build


@pytest.fixture
def manage(command: Callable[..., list[str]], environ: dict[str, str]) -> Manage:
    """Runs a command to its end, without any setting of the application."""

    def run(verb: str, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(verb, *words),
            cwd=ROOT,
            env=environ | settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def start(
    command: Callable[..., list[str]], environ: dict[str, str]
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command and leaves it running, as a shell without job control does."""
    started: list[subprocess.Popen[str]] = []

    def run(verb: str, *words: str) -> subprocess.Popen[str]:
        # Such a shell starts its background commands with SIGINT ignored.
        ignoring = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh"]
        process = subprocess.Popen(
            [*ignoring, *command(verb, *words)],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def wait_until_recorded(devnet: Devnet, part: str) -> None:
    deadline = time.monotonic() + 30
    while not (devnet.directory / "run" / part).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"{text!r} was not printed")


def test_up_status_logs_and_down(manage: Manage, own_devnet: Devnet) -> None:
    up = manage("up", "--detach", *LIGHT)
    assert up.returncode == 0, up.stderr
    assert "redis     answers" in up.stderr
    assert f"source {own_devnet.directory}/env" in up.stderr

    again = manage("up", "--detach", *LIGHT)
    assert again.returncode == 0
    assert "already running" in again.stderr

    assert "Ready to accept connections" in manage("logs", "redis").stdout
    assert manage("status").returncode == 1

    assert manage("down").stdout == "Stopped redis, mail.\n"
    assert manage("down").stdout == "Nothing was running.\n"


def test_json_for_programs(manage: Manage) -> None:
    report = json.loads(manage("up", "--detach", "--json", *LIGHT).stdout)
    assert report["status"] == "ready"
    assert report["started"] == ["redis", "mail"]
    rows = {row["part"]: row for row in json.loads(manage("status", "--json").stdout)}
    assert rows["redis"]["state"] == PartState.READY
    assert rows["chain"]["state"] == PartState.STOPPED
    assert json.loads(manage("down", "--json").stdout) == {"stopped": ["redis", "mail"]}


def test_exports_can_be_sourced(
    manage: Manage, own_devnet: Devnet, environ: dict[str, str]
) -> None:
    manage("up", "--detach", *LIGHT)
    script = 'source "$1" && printf %s "$REDIS_URL"'
    shown = subprocess.run(
        ["/usr/bin/env", "bash", "-euc", script, "sh", str(own_devnet.directory / "env")],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == own_devnet.env["REDIS_URL"]


def test_production_is_refused_with_a_sentence(manage: Manage) -> None:
    refused = manage("up", "--detach", APP_ENV="production")
    assert refused.returncode == 5
    assert refused.stderr == (
        "Error: The devnet is for development: it is refused while APP_ENV is production.\n"
    )


def test_a_failed_part_is_named_with_its_log(manage: Manage, own_devnet: Devnet) -> None:
    (own_devnet.directory).mkdir(parents=True)
    (own_devnet.directory / "mail").write_text("where mails should go")
    failed = manage("up", "--detach", "--json", *LIGHT)
    assert failed.returncode == 1
    report = json.loads(failed.stdout)
    assert (report["status"], report["part"]) == ("failed", "mail")
    assert report["log"].endswith("/logs/mail.log")
    assert not own_devnet.is_running()


def test_an_unknown_part_is_wrong_usage(manage: Manage) -> None:
    assert manage("up", "--only", "redis,nginx").returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_foreground_stops_everything(
    start: Start, own_devnet: Devnet, number: signal.Signals
) -> None:
    foreground = start("up", *LIGHT)
    wait_for_line(foreground, "Use it from a shell")
    assert own_devnet.is_running()
    foreground.send_signal(number)
    foreground.communicate(timeout=60)
    assert foreground.returncode == 0
    assert not own_devnet.is_running()


def test_signals_during_the_start_stop_what_was_started(start: Start, own_devnet: Devnet) -> None:
    foreground = start("up", "--detach", "--only", "redis,mail,signer")
    wait_until_recorded(own_devnet, "redis")
    for _ in range(3):
        foreground.send_signal(signal.SIGINT)
        time.sleep(0.1)
    foreground.communicate(timeout=60)
    assert foreground.returncode == 130
    assert not own_devnet.is_running()


def test_logs_are_shown_in_the_foreground_and_a_dead_part_is_told(
    start: Start, own_devnet: Devnet
) -> None:
    foreground = start("up", *LIGHT)
    wait_for_line(foreground, "Use it from a shell")
    own_devnet.stop("mail")
    wait_for_line(foreground, "mail ended with exit code 0")
    own_devnet.down()
    wait_for_line(foreground, "redis | ")
    foreground.communicate(timeout=60)
    assert foreground.returncode == 0


def test_parts_of_a_killed_supervisor_are_found_and_stopped(
    start: Start, manage: Manage, own_devnet: Devnet, list_survivors: Survivors
) -> None:
    foreground = start("up", *LIGHT)
    wait_for_line(foreground, "Use it from a shell")
    foreground.kill()
    foreground.wait()
    running = [row.pid for row in own_devnet.status() if row.pid is not None]
    assert len(running) == 2
    assert manage("up", "--detach", *LIGHT).stderr.count("already running") == 1
    assert manage("down").stdout == "Stopped redis, mail.\n"
    assert list_survivors(running) == []


def test_down_finds_what_a_supervisor_killed_at_its_start_has_left(
    start: Start, manage: Manage, own_devnet: Devnet
) -> None:
    foreground = start("up", "--only", "redis,mail,signer")
    wait_until_recorded(own_devnet, "redis")
    foreground.kill()
    foreground.wait()
    time.sleep(0.2)
    assert manage("down").returncode == 0
    marker = str(own_devnet.directory)
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(marker in word for word in process.info["cmdline"] or [])
    ]
    assert left == []
    assert not own_devnet.is_running()
