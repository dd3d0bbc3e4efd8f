"""JSON log lines with the request id, and one place where secrets are taken out."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from pythonjsonlogger.json import JsonFormatter

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"(secret|password|passphrase|passwd|token|authorization|api[_-]?key|cookie"
    r"|signature|pmc|challenge|nonce|mhex|\bcode\b|(dev|verification)_?code|email|wif|private)",
    re.IGNORECASE,
)
_CREDENTIALS_IN_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s@\"]*@", re.IGNORECASE)
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def configure(level: str, *, service: str, release: str) -> None:
    """Sends every log of the process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(add_context)
    handler.setFormatter(
        _CleanFormatter(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"service": service, "release": release},
            timestamp=True,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel("WARNING" if level == "warn" else level.upper())
    logging.getLogger("pymongo").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.WARNING)


class _CleanFormatter(JsonFormatter):
    """Cuts credentials out of the whole line: arguments and tracebacks quote addresses as well."""

    def format(self, record: logging.LogRecord) -> str:
        return strip_credentials(super().format(record))


def add_context(record: logging.LogRecord) -> bool:
    """Adds the request id and redacts the record's extra fields; keeps every record."""
    if not hasattr(record, "request_id"):
        record.request_id = request_id.get()
    for name, value in list(vars(record).items()):
        if name not in _STANDARD_ATTRIBUTES:
            setattr(record, name, redact(value, name))
    return True


def redact(value: Any, name: str = "") -> Any:
    """Replaces values whose name says that they are secret, at every depth."""
    if _is_secret(name):
        return REDACTED
    if isinstance(value, Mapping):
        return {str(key): redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    if isinstance(value, str):
        return strip_credentials(value)
    return value


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def strip_credentials(text: str) -> str:
    """Cuts user and password out of URLs."""
    # Every line comes through here, and looking for a scheme at each letter takes its time.
    if "://" not in text:
        return text
    return _CREDENTIALS_IN_URL.sub(r"\g<scheme>", text)


def chain_event(event: str, txid: str | None, **fields: Any) -> dict[str, Any]:
    """The one shape of events on the way to the chain, for `extra=` of a log call.

    `event` is one of claimed, signed, committed, batched, sent, accepted, settled, rejected,
    abandoned, mined, final; `request_ids` ties the line to the HTTP requests that asked for it.
    """
    return {"event": f"chain.{event}", "txid": txid, **fields}
