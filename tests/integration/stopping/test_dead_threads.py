"""An exception that nobody catches is the end of the process, never of a thread alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import requests

from devnet.supervisor.site import CHECKOUT
from tests.integration.deployment.conftest import serving, wait_for
from tests.integration.services.lab import Lab

ENDS = """
import sys, threading
from app import logs, uncaught

logs.configure("info", service="worker", release="r1")
uncaught.end_with_any_thread()
threading.Thread(target=TARGET, name="doomed").start()
print("waits", flush=True)
threading.Event().wait(SECONDS)
"""


def run(target: str, *, waits_seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            ENDS.replace("TARGET", target).replace("SECONDS", str(waits_seconds)),
        ],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_d10_the_process_ends_as_by_sigterm_and_the_log_says_why() -> None:
    done = run("lambda: {}['key']", waits_seconds=30)

    assert done.returncode == -signal.SIGTERM
    [line] = [json.loads(line) for line in done.stderr.splitlines()]
    assert (line["event"], line["dead_thread"]) == ("process.ends", "doomed")
    assert "KeyError" in line["exc_info"]


def test_a_thread_that_exits_ends_nothing_else() -> None:
    assert run("sys.exit", waits_seconds=0.1).returncode == 0


def test_d10_a_web_worker_answers_and_is_replaced(lab: Lab, tmp_path: Path) -> None:
    env = {**lab.env, "WEB_WORKERS": "1"}
    application = "tests.integration.stopping.crashing:app"
    with serving(env, tmp_path / "log", application=application) as web:
        master = psutil.Process(web.process.pid)
        [first] = master.children()

        answer = requests.get(f"http://127.0.0.1:{web.port}/die", timeout=60)

        wait_for(lambda: any(child.pid != first.pid for child in master.children()))
        assert (answer.status_code, answer.text) == (200, "died")
        wait_for(lambda: not first.is_running())
        assert requests.get(f"http://127.0.0.1:{web.port}/health", timeout=60).ok
    assert "a thread has died" in (tmp_path / "log").read_text()
