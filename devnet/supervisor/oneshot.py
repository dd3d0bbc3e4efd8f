"""Commands that a part needs done before it starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from devnet.supervisor.errors import DevnetError
from devnet.supervisor.site import CHECKOUT, Site

TIMEOUT_SECONDS = 60


def run_python(site: Site, *words: str, environment: Mapping[str, str]) -> str:
    """Run Python with these arguments to its end and return what it printed."""
    try:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=CHECKOUT,
            env=site.base_environment() | dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise DevnetError(f"python {' '.join(words)} failed: {error.stderr.strip()}") from None
    except subprocess.TimeoutExpired:
        raise DevnetError(f"python {' '.join(words)} took over {TIMEOUT_SECONDS} s") from None
    return done.stdout
