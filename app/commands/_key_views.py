"""API keys as people and programs read them; never with their text but where it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from app.commands._console import show, show_rows
from app.domain.clock import utc_now
from app.services.api_keys import KeyFacts, KeyState

_COLUMNS = ("prefix", "name", "scopes", "state", "created", "expires", "last used", "succeeds")


def show_key(
    title: str, facts: KeyFacts, *, as_json: bool, more: Mapping[str, str] | None = None
) -> None:
    """Prints what is known of a key, and `more` of it."""
    values = _values(facts)
    if not as_json:
        values["scopes"] = " ".join(facts.scopes)
    show(title, {**values, **(more or {})}, as_json=as_json)


def show_keys(
    found: Sequence[KeyFacts], *, unused_after: timedelta, has_static: bool, as_json: bool
) -> None:
    """Prints keys; a live one that was not used for so long is called unused."""
    now = utc_now()
    if as_json:
        rows = [{**_values(key), "unused": _is_unused(key, unused_after, now)} for key in found]
        show("API keys", {"keys": rows, "API_KEY": has_static}, as_json=True)
        return
    table = [_row(key, _is_unused(key, unused_after, now), now) for key in found]
    show_rows("API keys, times in UTC", _COLUMNS, table)
    if has_static:
        click.echo("API_KEY is set: it works too, with every scope.", err=True)


def describe_key(key: KeyFacts) -> str:
    """A key in half a sentence."""
    end = "never expires" if key.expires_at is None else f"expires {_minute(key.expires_at)} UTC"
    return f"Key {key.prefix} of {key.name}, {' '.join(key.scopes)}, {end}"


def _values(key: KeyFacts) -> dict[str, Any]:
    return {
        "prefix": key.prefix,
        "name": key.name,
        "scopes": list(key.scopes),
        "state": key.state.value,
        "created_at": key.created_at.isoformat(),
        "expires_at": _iso(key.expires_at),
        "last_used_at": _iso(key.last_used_at),
        "revoked_at": _iso(key.revoked_at),
        "rotated_from": key.rotated_from,
    }


def _row(key: KeyFacts, is_unused: bool, now: datetime) -> Sequence[object]:
    unused_days = (now - key.unused_since).days
    return (
        key.prefix,
        key.name,
        " ".join(key.scopes),
        f"{key.state}, unused for {unused_days} days" if is_unused else key.state,
        _minute(key.created_at),
        _minute(key.expires_at),
        _minute(key.last_used_at),
        key.rotated_from,
    )


def _is_unused(key: KeyFacts, after: timedelta, now: datetime) -> bool:
    return key.state is KeyState.LIVE and now - key.unused_since >= after


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _minute(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M}"
