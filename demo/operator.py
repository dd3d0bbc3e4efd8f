"""The operator's part of the demo: the same commands that a person would type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo.errors import DemoError

CHECKOUT = Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 60
NOTHING_TO_DO, LOCK_HELD = 2, 3
# The periodic upkeep of the pool holds its lock for a moment.
LOCK_TRIES = 10


class Operator:
    """Runs `manage.py` with the exports of a devnet, in a process of its own."""

    def __init__(self, exports: Mapping[str, str]) -> None:
        self._environment = os.environ | dict(exports)

    def sync_pool(self) -> dict[str, Any]:
        """`manage.py utxo sync`: takes over what the chain says pays the funding address."""
        return self._run("utxo", "sync")

    def split_pool(self, target: int) -> dict[str, Any]:
        """`manage.py utxo split`: cuts a large output into many, unless there are enough."""
        return self._run("utxo", "split", "--target", str(target))

    def issue_token(self, user: str) -> str:
        """`manage.py keys token`: a token as a login would give."""
        return str(self._run("keys", "token", "--user", user)["token"])

    def _run(self, *words: str) -> dict[str, Any]:
        for _ in range(LOCK_TRIES):
            done = self._manage(*words)
            if done.returncode != LOCK_HELD:
                break
            time.sleep(1.0)
        if done.returncode not in (0, NOTHING_TO_DO):
            said = done.stderr.strip() or done.stdout.strip()
            raise DemoError(f"manage.py {' '.join(words)} ends with {done.returncode}: {said}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def _manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *words, "--json"],
            cwd=CHECKOUT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
