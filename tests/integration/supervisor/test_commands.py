"""`manage.py devnet` as a person and a program use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from devnet.supervisor import Devnet, PartState

ROOT = Path(__file__).resolve().parents[3]
LIGHT = ["--only", "redis,mail"]
Manage = Callable[..., subprocess.CompletedProcess[str]]
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
    command: Callable[..., list[str]],
    environ: dict[str, str],
    own_devnet: Devnet,
    number: signal.Signals,
) -> None:
    with subprocess.Popen(
        command("up", *LIGHT), cwd=ROOT, env=environ, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as foreground:  # fmt: skip
        wait_for_line(foreground, "Use it from a shell")
        assert own_devnet.is_running()
        foreground.send_signal(number)
        foreground.communicate(timeout=30)
    assert foreground.returncode == 0
    assert not own_devnet.is_running()


def test_parts_of_a_killed_supervisor_are_found_and_stopped(
    command: Callable[..., list[str]],
    manage: Manage,
    environ: dict[str, str],
    own_devnet: Devnet,
    list_survivors: Survivors,
) -> None:
    with subprocess.Popen(
        command("up", *LIGHT), cwd=ROOT, env=environ, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as foreground:  # fmt: skip
        wait_for_line(foreground, "Use it from a shell")
        foreground.kill()
    running = [row.pid for row in own_devnet.status() if row.pid is not None]
    assert len(running) == 2
    assert manage("up", "--detach", *LIGHT).stderr.count("already running") == 1
    assert manage("down").stdout == "Stopped redis, mail.\n"
    assert list_survivors(running) == []


def test_a_supervisor_killed_while_it_starts_leaves_nothing_behind_down(
    command: Callable[..., list[str]], manage: Manage, environ: dict[str, str], own_devnet: Devnet
) -> None:
    foreground = subprocess.Popen(
        command("up", "--only", "redis,mail,signer"), cwd=ROOT, env=environ,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (own_devnet.directory / "run" / "redis").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(foreground.pid, signal.SIGKILL)
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
