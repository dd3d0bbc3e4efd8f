"""gunicorn's entry: `wsgi:app`."""

from __future__ import annotations

import atexit
import gc
import sys
from typing import TYPE_CHECKING

from app import create_app, starting, uncaught
from app.config import SettingsError, load_settings
from app.services import measuring
from app.services.start_checks import Kind

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI

# gunicorn stops when a worker exits with its APP_LOAD_ERROR, and restarts it for ever after a 1.
_EXIT_CODE = 4 if "gunicorn.arbiter" in sys.modules else starting.EXIT_CODE


def _start() -> OpenAPI:
    if not starting.is_checked_by_parent():
        starting.require(Kind.WEB)
    return create_app(load_settings())


try:
    app = _start()
except SettingsError as error:
    starting.tell(error)
    raise SystemExit(_EXIT_CODE) from None

uncaught.end_with_any_thread()

measuring.begin(Kind.WEB)
atexit.register(measuring.end)

# What was made so far stays: collections that walk it again and again cost a tenth of each request.
gc.collect()
gc.freeze()
