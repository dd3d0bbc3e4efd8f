"""Durations as an operator types them: 90d, 12h, 30m, 45s."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# Nine digits of weeks are more than a timedelta holds; nobody means as many as six.
_DURATION = re.compile(r"([0-9]{1,6})([smhdw])|0")


class Duration(click.ParamType):
    """A whole number with a unit, or 0; converted to a timedelta."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Reads the text of an option."""
        if isinstance(value, timedelta):
            return value
        match = _DURATION.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is no duration such as 90d, 12h, 30m or 45s", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match[2] else timedelta(0)


DURATION = Duration()
