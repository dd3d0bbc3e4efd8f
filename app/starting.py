"""How a process begins: it has what it needs within seconds, or ends with one sentence.

`python -m app.starting web` checks for gunicorn, whose master shall not load the application.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app import extensions
from app.config import Settings, SettingsError, load_settings
from app.services import start_checks
from app.services.start_checks import Kind, Need

# Above what any service may take, below what whoever starts a process waits for.
PATIENCE_SECONDS = 25.0
# How a process ends that can't start.
EXIT_CODE = 1
# Names the process that has checked for its children, so that one that begins later does not.
CHECKED_BY = "PATCHPROOF_CHECKED_BY"


def load() -> Settings:
    """Reads the settings and makes the services; opens no connection.

    Raises:
        SettingsError: they can't be used, in one sentence.
    """
    with _patience():
        settings = load_settings()
        start_checks.open_services(settings)
    return settings


def require(kind: Kind) -> None:
    """Returns where the process may start; leaves no connection behind, and so no services.

    Raises:
        SettingsError: it may not, in one sentence.
    """
    with _patience() as watch, _silence():
        start_checks.open_services(load_settings())
        try:
            start_checks.check(kind, watch.look_at)
        finally:
            _close()


def is_checked_by_parent() -> bool:
    """Tells whether the parent has checked: a child that begins in an outage waits for its end."""
    return os.environ.get(CHECKED_BY) == str(os.getppid())


def tell(error: SettingsError) -> None:
    """Writes the sentence where the service manager keeps it."""
    # Celery puts a logger in the place of sys.stderr.
    stream = sys.__stderr__ or sys.stderr
    stream.write(f"patchproof: {error}\n")
    stream.flush()


class _Watch:
    """Ends the process when a check hangs where no timeout reaches, as in a look-up of names."""

    def __init__(self) -> None:
        self._asked = "the settings"
        self._timer = threading.Timer(PATIENCE_SECONDS, self._give_up)
        self._timer.daemon = True

    def start(self) -> None:
        self._timer.start()

    def stop(self) -> None:
        self._timer.cancel()
        self._timer.join()

    def look_at(self, need: Need) -> None:
        self._asked = need.setting

    def _give_up(self) -> None:
        tell(SettingsError(f"{self._asked}: no answer within {PATIENCE_SECONDS:.0f} seconds"))
        os._exit(EXIT_CODE)


@contextmanager
def _patience() -> Iterator[_Watch]:
    watch = _Watch()
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


@contextmanager
def _silence() -> Iterator[None]:
    """The sentence says it all: what clients log of their tries would stand around it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _close() -> None:
    current = extensions.get()
    current.chain.close()
    current.kms.close()
    current.redis.close()
    current.database.close()


def main() -> int:
    """Checks for the kind of process that the command line names."""
    try:
        require(Kind(sys.argv[1]))
    except SettingsError as error:
        tell(error)
        return EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
