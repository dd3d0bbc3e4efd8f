"""The one place that asks what time it is."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Answers now, aware and in UTC, to the millisecond: what the database keeps."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def unix_milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
