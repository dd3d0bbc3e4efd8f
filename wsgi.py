"""gunicorn's entry: `wsgi:app`."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from app import create_app, extensions, logs
from app.config import Settings, SettingsError, load_settings
from app.services import api_keys

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI

# gunicorn stops when a worker exits with its APP_LOAD_ERROR, and restarts it for ever after a 1.
_EXIT_CODE = 4 if "gunicorn.arbiter" in sys.modules else 1


def _start() -> OpenAPI:
    settings = load_settings()
    if settings.is_production and settings.api_key is None:
        _require_key_of_the_database(settings)
    return create_app(settings)


def _require_key_of_the_database(settings: Settings) -> None:
    """Asks over a connection of its own, which ends when the application makes its own."""
    logs.configure(settings.log_level, service="patchproof-api", release=settings.deploy_sha)
    extensions.init(settings)
    api_keys.require_any()


try:
    app = _start()
except SettingsError as error:
    sys.stderr.write(f"patchproof: {error}\n")
    raise SystemExit(_EXIT_CODE) from None

# What was made so far stays: collections that walk it again and again cost a tenth of each request.
gc.collect()
gc.freeze()
