"""gunicorn's entry: `wsgi:app`."""

from __future__ import annotations

import sys

from app import create_app
from app.config import SettingsError

# gunicorn stops when a worker exits with its APP_LOAD_ERROR, and restarts it for ever after a 1.
_EXIT_CODE = 4 if "gunicorn.arbiter" in sys.modules else 1

try:
    app = create_app()
except SettingsError as error:
    sys.stderr.write(f"patchproof: {error}\n")
    raise SystemExit(_EXIT_CODE) from None
