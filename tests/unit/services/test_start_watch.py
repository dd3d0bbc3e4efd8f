"""A start that hangs where no timeout reaches ends all the same, and says at what."""

from __future__ import annotations

import os
import subprocess
import sys

from devnet.supervisor.site import CHECKOUT

HANGS = """
import threading
from app import extensions, starting
from app.services import start_checks
from app.services.start_checks import Kind, Need

starting.PATIENCE_SECONDS = 0.2
starting.load_settings = lambda: None
start_checks.open_services = lambda settings: None
need = Need("names", "MONGODB_URI", threading.Event().wait)
start_checks.list_needs = lambda kind: [need]
starting.require(Kind.WEB)
"""


def test_o4_a_look_up_that_never_ends_ends_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == "patchproof: MONGODB_URI: no answer within 0 seconds\n"
