"""Entry of worker and beat: `celery -A tasks.worker worker`, `celery -A tasks.worker beat`."""

from __future__ import annotations

import sys

from celery.signals import beat_init, celeryd_init, worker_process_init

from app import extensions, logs, starting
from app.config import SettingsError
from app.queue import make_celery
from app.services.start_checks import Kind
from tasks.schedule import beat_schedule


def _end(error: SettingsError) -> None:
    starting.tell(error)
    sys.exit(starting.EXIT_CODE)


try:
    settings = starting.load()
except SettingsError as error:
    _end(error)

logs.configure(settings.log_level, service="worker", release=settings.deploy_sha)
app = make_celery(settings)
app.conf.beat_schedule = beat_schedule(settings)
app.conf.imports = (
    "tasks.anchoring",
    "tasks.claims",
    "tasks.mail",
    "tasks.maintenance",
    "tasks.pool",
    "tasks.privacy",
)
app.set_default()


@celeryd_init.connect
def check_needs_of_worker(**_: object) -> None:
    """Ends a worker that could not work, before it has children."""
    _check(Kind.WORKER)


@beat_init.connect
def check_needs_of_beat(**_: object) -> None:
    """Ends a clock whose tasks nobody could do."""
    _check(Kind.BEAT)


@worker_process_init.connect
def open_own_connections(**_: object) -> None:
    """Gives a forked child connections of its own."""
    extensions.init(settings)


def _check(kind: Kind) -> None:
    try:
        starting.require(kind)
    except SettingsError as error:
        _end(error)
    extensions.init(settings)
