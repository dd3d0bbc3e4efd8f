"""How gunicorn serves the API: `gunicorn --config deploy/gunicorn.conf.py wsgi:app`.

WEB_BIND, WEB_WORKERS and WEB_THREADS of the environment change the three things that differ between
machines; everything else holds wherever the service runs.

Two cores, shared with other work, with the devnet's database and Redis and the caller on them too;
16 connections kept open, the median over three rounds as a share of `sync` with two workers
(`make bench ARGS="-k worker_classes"`, docs/benchmarks.md):

    worker class         GET /health   GET /v1/patches/verify
    sync, 2                     1.00   1.00
    sync, 4                     0.73   1.19
    gthread, 2 x 4              1.04   1.88
    gthread, 1 x 8              1.21   2.32
    gthread, 4 x 4              1.21   1.82

So `gthread`. `sync` closes each connection after its answer, and one caller who waits for the
signer keeps a whole worker. How threads are spread made less of a difference than the machine from
run to run, so something else decides: a worker a core uses every core and leaves one serving while
another begins anew, and each more would take 140 MiB for nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import multiprocess, values

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

# Only the proxy of this machine reaches the service. Under systemd the socket is handed over
# (patchproof-web.socket), and gunicorn takes that one instead.
bind = os.environ.get("WEB_BIND") or "127.0.0.1:3001"
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS") or 2)
threads = int(os.environ.get("WEB_THREADS") or 4)

# Above keepalive_timeout of the proxy's upstream, so that the proxy is the one that closes.
keepalive = 75
# How long a worker may be stuck as a whole; a slow request does not count, each has a thread.
timeout = 60
# What is under way at SIGTERM may take this long: above the signer's budget of 25 s. systemd waits
# longer (TimeoutStopSec).
graceful_timeout = 30
# Whatever leaks is given back now and then, by one worker at a time.
max_requests = 20_000
max_requests_jitter = 4_000
# Headers that say how the client came in count from the proxy alone; the application looks at them
# as far as TRUSTED_PROXIES says. FORWARDED_ALLOW_IPS names another proxy.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS") or "127.0.0.1,::1"
# Longer request lines are refused by the proxy, in the words that all failures have.
limit_request_line = 8190
# The heartbeat of a worker is a file, which must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108
# It would let other programs steer the server.
control_socket_disable = True
proc_name = "patchproof-web"

_OWN_COUNTERS = "patchproof-web-counters-"

logconfig_dict: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "%(levelname)s %(name)s %(message)s %(process)d",
            "rename_fields": {"levelname": "level", "name": "logger", "process": "pid"},
            "static_fields": {"service": "patchproof-api"},
            "timestamp": True,
        }
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "json",
            "stream": "ext://sys.stderr",
        }
    },
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
        # The application has a line a request of its own.
        "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": False},
    },
}


def on_starting(_server: Arbiter) -> None:
    """Ends the start where a need is not met; forgets the counters of an earlier one.

    Asked here, once: a worker that takes another's place in an outage of the signer serves what can
    be served. In a process of its own, so that this one stays small and can load a new release.
    """
    done = subprocess.run([sys.executable, "-m", "app.starting", "web"], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    os.environ["PATCHPROOF_CHECKED_BY"] = str(os.getpid())
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if directory:
        # Counted twice they would be, if they stayed.
        _empty(Path(directory))
    else:
        # Without one, each worker would show its own requests alone.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_OWN_COUNTERS)


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """Gives the worker the lowest number that no living one has."""
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = next(number for number in count(1) if number not in taken)


def post_fork(_server: Arbiter, worker: Worker) -> None:
    """Has the worker count in the files of its number: it goes on where a dead one has ended.

    By process id, as is usual, each worker that is replaced would leave files that are read at
    every scrape from then on.
    """
    values.ValueClass = values.MultiProcessValue(lambda: worker.slot)


def post_worker_init(_worker: Worker) -> None:
    """Says that calls are answered from now on: the units wait for it (ExecStartPost).

    gunicorn tells systemd that it has started as soon as it listens, seconds before.
    """
    directory = os.environ.get("RUNTIME_DIRECTORY")
    if directory:
        (Path(directory) / "answering").touch()


def child_exit(_server: Arbiter, worker: Worker) -> None:
    """Takes the gauges of a worker that has ended out of the sums; its counters stay."""
    multiprocess.mark_process_dead(worker.slot)


def on_exit(_server: Arbiter) -> None:
    """Leaves no directory behind that nobody has asked for."""
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if directory.name.startswith(_OWN_COUNTERS):
        shutil.rmtree(directory, ignore_errors=True)


def _empty(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
