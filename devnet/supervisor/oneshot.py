"""Commands that a part needs done before it starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from devnet.supervisor.errors import DevnetError
from devnet.supervisor.site import CHECKOUT, Site


def run_python(site: Site, *words: str, environment: Mapping[str, str]) -> str:
    """Run Python with these arguments to its end and return what it printed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=CHECKOUT,
        env=site.base_environment() | dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise DevnetError(f"python {' '.join(words)} failed: {done.stderr.strip()}")
    return done.stdout
