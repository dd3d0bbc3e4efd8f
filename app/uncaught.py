"""An exception that nobody catches in a thread ends the process, and another takes its place.

Python itself prints it and goes on without the thread: a lock whose heartbeat has died, a pool that
one thread after another has left.
"""

from __future__ import annotations

import logging
import os
import signal
import threading

logger = logging.getLogger(__name__)


def end_with_any_thread() -> None:
    """From here on the end of any thread by an exception is that of this process and its forks.

    It ends as by SIGTERM: gunicorn's worker answers what is under way, Celery gives its task back.
    """
    threading.excepthook = _end


def _end(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    if error is None or isinstance(error, SystemExit):
        return
    name = arguments.thread.name if arguments.thread else "unknown"
    logger.critical(
        "a thread has died: this process ends",
        exc_info=(arguments.exc_type, error, arguments.exc_traceback),
        extra={"event": "process.ends", "dead_thread": name},
    )
    os.kill(os.getpid(), signal.SIGTERM)
