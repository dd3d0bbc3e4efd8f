"""The web with one more path, at which it starts a thread and lets it die."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Thread
from typing import TYPE_CHECKING

from wsgi import app as service

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answers at /die once the thread has died."""
    if environ["PATH_INFO"] != "/die":
        return service(environ, start_response)
    thread = Thread(target=_die, name="doomed")
    thread.start()
    thread.join()
    start_response("200 OK", [("Content-Length", "4")])
    return [b"died"]


def _die() -> None:
    raise RuntimeError("nobody catches this")
