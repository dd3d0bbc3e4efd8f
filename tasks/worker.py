"""Entry of worker and beat: `celery -A tasks.worker worker`, `celery -A tasks.worker beat`."""

from __future__ import annotations

import sys

from celery.signals import (
    after_task_publish,
    beat_init,
    celeryd_init,
    worker_process_init,
    worker_process_shutdown,
)

from app import extensions, logs, measures, starting, uncaught
from app.config import SettingsError
from app.queue import make_celery
from app.services import measuring
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
uncaught.end_with_any_thread()
app = make_celery(settings)
app.conf.beat_schedule = beat_schedule(settings)
app.conf.imports = (
    "tasks.anchoring",
    "tasks.checks",
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
    after_task_publish.connect(_note_tick)
    measuring.begin(Kind.BEAT)


def _note_tick(**_: object) -> None:
    measures.BEAT_SENT.mark()


@worker_process_init.connect
def open_own_connections(**_: object) -> None:
    """Gives a forked child connections of its own, and has it carry its own measures."""
    extensions.init(settings)
    measuring.begin(Kind.WORKER)


@worker_process_shutdown.connect
def carry_last_measures(**_: object) -> None:
    """Carries what a child has measured before it ends."""
    measuring.end()


def _check(kind: Kind) -> None:
    try:
        starting.require(kind)
    except SettingsError as error:
        _end(error)
    extensions.init(settings)
