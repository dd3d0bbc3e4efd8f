"""Log lines as JSON on stderr. What goes in is chosen field by field, so nothing secret can."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("signer")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, message and the fields of `extra["fields"]`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; of an exception only its type and the places it came through."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "pid": record.process,
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            # An exception's text may quote what it choked on.
            frames = traceback.extract_tb(record.exc_info[2])
            line["exception"] = record.exc_info[0].__name__
            line["frames"] = [f"{frame.filename}:{frame.lineno}" for frame in frames]
        return json.dumps(line)


def configure_logging() -> None:
    """Send the signer's log to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    LOGGER.handlers = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def log(level: int, message: str, **fields: object) -> None:
    """Write one line with these fields."""
    LOGGER.log(level, message, extra={"fields": fields})
