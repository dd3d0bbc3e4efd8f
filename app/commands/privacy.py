"""`manage.py privacy`: exports and erasures for people who ask by letter."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from app.commands._console import (
    CommandError,
    ExitCode,
    as_json_option,
    show,
    show_rows,
    with_services,
)
from app.commands._operators import by_option, name_operator
from app.services import erasing, privacy_views, subject_exports, subjects
from app.services.subjects import Identity

HELP = """What is held about people, for them to have and to have erased.

Whoever can log in does both alone (GET /v1/privacy/export, DELETE /v1/privacy/delete). These are
for requests that come by letter, after you have made sure who asks. docs/privacy.md says what is
erased, what remains, and why.

\b
Exit codes:
  0  done
  1  wrong settings, or a defect
  2  wrong usage
  4  the database or Redis is away
  5  refused, with the reason
"""

_USER_ID = re.compile(r"[0-9a-fA-F]{24}")
_MAX_NAME = 254
_KEY_COLUMNS = ("key", "address", "proven_by")


@click.group(help=HELP)
def privacy() -> None:
    """Hold the commands together."""


def _read_name(_: click.Context, __: click.Parameter, text: str) -> str:
    name = text.strip()
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise click.BadParameter("is neither a user id nor an address of mail")
    return name


def _read_user_id(_: click.Context, __: click.Parameter, text: str) -> str:
    if not _USER_ID.fullmatch(text):
        raise click.BadParameter("is no user id: 24 hexadecimal characters")
    return text.lower()


user_option = click.option(
    "--user",
    "name",
    required=True,
    callback=_read_name,
    help="A user id (24 hex), or an address of mail that logs in by code.",
)


@privacy.command()
@user_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this new file, readable by you alone, instead of the terminal.",
)
@with_services
def export(*, name: str, output: Path | None) -> None:
    """Hand out what is held about somebody, as JSON lines: one, or one a page of 200 records.

    \b
    Example:
      manage.py privacy export --user 507f1f77bcf86cd799439011 --output ann.jsonl
    """
    with _open_output(output) as file:
        for page in _pages(name):
            file.write(json.dumps(page) + "\n")
    if output is not None:
        click.echo(f"written to {output}")


@privacy.command()
@user_option
@by_option
@click.option("--dry-run", is_flag=True, help="Show whose keys it would follow; change nothing.")
@as_json_option
@with_services
def delete(*, name: str, operator: str, dry_run: bool, as_json: bool) -> None:
    """Erase what is held about somebody, and say what remains and why.

    What can't go yet (a patch that they still own, a block that is not deep enough) is erased by
    beat as soon as it can. The same command again tells how it stands.

    \b
    Example:
      manage.py privacy delete --user ann@shop.example --dry-run
      manage.py privacy delete --user ann@shop.example --by alice
    """
    subject = subjects.of_name(name)
    by = name_operator(operator)
    if dry_run:
        _show_preview(erasing.preview(subject), as_json=as_json)
        return
    view = privacy_views.report_view(name, erasing.request(subject, by))
    if as_json:
        show("Erasure", view, as_json=True)
    else:
        _show_report(view)


@privacy.command()
@click.argument("user_id", callback=_read_user_id)
@with_services
def free(*, user_id: str) -> None:
    """Let the id of somebody who was erased be registered again.

    Erased ids stay taken, so that no stranger logs in under one. Free one only for whoever had it.
    """
    erasing.free(user_id)
    click.echo(f"{user_id} can be registered again")


def _pages(name: str) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = subject_exports.export(subjects.of_name(name), cursor=cursor, even_revoked=True)
        yield privacy_views.export_view(page)
        cursor = page.next_cursor
        if cursor is None:
            return


@contextmanager
def _open_output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        reason = f"{path} can't be made: {error.strerror}"
        raise CommandError(reason, ExitCode.REFUSED) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
    except BaseException:
        # Half an export looks like a whole one.
        path.unlink(missing_ok=True)
        raise


def _show_preview(identity: Identity, *, as_json: bool) -> None:
    name = identity.subject.spelled
    keys = [(each.public_key_hex, each.address, each.proven_by.value) for each in identity.keys]
    if as_json:
        rows = [dict(zip(_KEY_COLUMNS, row, strict=True)) for row in keys]
        show("Erasure", {"subject": name, "dry_run": True, "keys": rows}, as_json=True)
        return
    click.echo(f"would erase what is held about {name} and {len(keys)} proven keys")
    show_rows("Keys", _KEY_COLUMNS, keys)


def _show_report(view: Mapping[str, Any]) -> None:
    facts = {name: view[name] for name in ("subject", "status", "requestedAt", "finishedAt")}
    show("Erasure", facts, as_json=False)
    erased = [(each["what"], each["source"], each["count"]) for each in view["erased"]]
    show_rows("Erased", ("what", "where", "number"), erased)
    remains = [
        (each["what"], each["source"], each["count"], each["isErasedLater"], each["reason"])
        for each in view["remains"]
    ]
    show_rows("What remains", ("what", "where", "number", "goes later", "why"), remains)
