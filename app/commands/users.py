"""`manage.py users`: the keys that people log in with, when they can't help themselves."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import click

from app.commands._console import (
    ExitCode,
    as_json_option,
    show,
    show_rows,
    with_services,
)
from app.commands._operators import by_option, name_operator
from app.models.svd_key import ReplacedKey, SvdKey
from app.services import login_keys

HELP = """The keys that people log in with.

People register and replace their keys themselves. An operator helps who lost a key or had it
stolen, after making sure who asks. Changes count with the next login, on every worker.

\b
Exit codes:
  0  done
  1  wrong settings, or a defect
  2  nothing to do, or wrong usage
  4  the database is away
  5  refused, with the reason
"""

_USER_ID = re.compile(r"[0-9a-fA-F]{24}")
_COLUMNS = ("key", "registered", "revoked", "revoked by", "replaced", "replaced by")


@click.group(help=HELP)
def users() -> None:
    """Hold the commands together."""


def _read_user_id(_: click.Context, __: click.Parameter, text: str) -> str:
    if not _USER_ID.fullmatch(text):
        raise click.BadParameter("is no user id: 24 hexadecimal characters")
    return text.lower()


user_argument = click.argument("user_id", callback=_read_user_id)


@users.command("show-key")
@user_argument
@as_json_option
@with_services
def show_key(*, user_id: str, as_json: bool) -> None:
    """Show a user's key, and those that it has replaced.

    \b
    Example:
      manage.py users show-key 507f1f77bcf86cd799439011 --json | jq .revoked_at
    """
    key = login_keys.get(user_id)
    history = [_describe_replaced(each) for each in key.history]
    if as_json:
        show("Login key", {**_describe(key), "history": history}, as_json=True)
        return
    show("Login key", _describe(key), as_json=False)
    show_rows("Replaced keys, times in UTC", _COLUMNS, [list(row.values()) for row in history])


@users.command("revoke-key")
@user_argument
@by_option
@as_json_option
@with_services
def revoke_key(*, user_id: str, operator: str, as_json: bool) -> None:
    """End a user's key: nobody logs in with it from now on.

    Tokens that it got before are good until they expire, 15 minutes at most. The user logs in
    again after replace-key.
    """
    is_revoked = login_keys.revoke(user_id, name_operator(operator))
    show("Login key", _describe(login_keys.get(user_id)), as_json=as_json)
    raise SystemExit(int(ExitCode.DONE if is_revoked else ExitCode.NOTHING_TO_DO))


@users.command("replace-key")
@user_argument
@click.option("--pmc", "public_key_hex", required=True, help="The user's new public master key.")
@by_option
@as_json_option
@with_services
def replace_key(*, user_id: str, public_key_hex: str, operator: str, as_json: bool) -> None:
    """Give a user who lost a key the one whose public half the user has sent.

    The old one, revoked or not, goes into the history and is never taken again.

    \b
    Example:
      manage.py users replace-key 507f1f77bcf86cd799439011 --pmc 034f...71aa --by alice
    """
    login_keys.replace(user_id, public_key_hex, name_operator(operator))
    show("Login key", _describe(login_keys.get(user_id)), as_json=as_json)


def _describe(key: SvdKey) -> dict[str, Any]:
    return {"user_id": key.user_id, **_describe_key(key)}


def _describe_replaced(key: ReplacedKey) -> dict[str, Any]:
    return {
        **_describe_key(key),
        "replaced_at": _iso(key.replaced_at),
        "replaced_by": key.replaced_by,
    }


def _describe_key(key: SvdKey | ReplacedKey) -> dict[str, Any]:
    return {
        "public_key_hex": key.public_key_hex,
        "registered_at": _iso(key.registered_at),
        "revoked_at": _iso(key.revoked_at),
        "revoked_by": key.revoked_by,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
