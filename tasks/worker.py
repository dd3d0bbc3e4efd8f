"""Entry of worker and beat: `celery -A tasks.worker worker`, `celery -A tasks.worker beat`."""

from __future__ import annotations

import sys

from celery.signals import worker_process_init

from app import extensions, logs
from app.config import SettingsError, load_settings
from app.queue import make_celery
from tasks.schedule import beat_schedule

try:
    settings = load_settings()
except SettingsError as error:
    sys.exit(f"patchproof worker: {error}")

logs.configure(settings.log_level, service="worker", release=settings.deploy_sha)
extensions.init(settings)
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


@worker_process_init.connect
def open_own_connections(**_: object) -> None:
    """Gives a forked child connections of its own."""
    extensions.init(settings)
