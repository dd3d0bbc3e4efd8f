"""The production server of the signer: gunicorn with one worker, started by `serve`."""

import ctypes
import logging
import resource
import socket
import sys

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from signer import logs
from signer.errors import ListenError

# From linux/prctl.h: a process that is not dumpable cannot be traced or read by its own user.
PR_SET_DUMPABLE = 4


class JsonLogger(Logger):  # type: ignore[misc]
    """Gunicorn's own messages in the signer's format."""

    def setup(self, cfg: Config) -> None:
        """Replace the text format of gunicorn."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.JsonFormatter())


class SignerServer(BaseApplication):  # type: ignore[misc]
    """Serves one application on one socket that is already bound."""

    def __init__(self, app: Flask, listener: socket.socket) -> None:
        self._app = app
        # Gunicorn takes the descriptor over and closes it.
        self._descriptor = listener.detach()
        super().__init__()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults; nothing is read from files."""
        settings = {
            "bind": f"fd://{self._descriptor}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": 4,
            "keepalive": 75,
            # A batch under way is signed to its end; idle connections are closed at once.
            "graceful_timeout": 20,
            "proc_name": "patchproof-signer",
            "logger_class": JsonLogger,
            # It would let other programs steer the signer.
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return the application."""
        return self._app


def open_listener(host: str, port: int) -> socket.socket:
    """Bind the address; ListenError names what is in the way.

    It does not listen yet: gunicorn sets the options first, and a connection that came
    before them would go without TCP_NODELAY, 40 ms slower an answer.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ListenError(
            f"Cannot listen on {host}, port {port}: {error.strerror or 'it is not usable'}."
        ) from None
    return listener


def protect_memory() -> None:
    """Keep the keys out of core files, and on Linux out of reach of the user's other programs."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def run(app: Flask, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; leaves by SystemExit."""
    logs.log(logging.INFO, "serving", port=listener.getsockname()[1])
    SignerServer(app, listener).run()
