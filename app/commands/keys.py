"""`manage.py keys`: API keys for those who call the API, tokens for people who develop on it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import click

from app import extensions
from app.commands._console import (
    CommandError,
    ExitCode,
    as_json_option,
    show,
    with_services,
)
from app.commands._durations import DURATION
from app.commands._key_views import describe_key, show_key, show_keys
from app.domain.api_keys import SCOPE_MEANINGS, KeyText, Scope
from app.services import api_keys, tokens
from app.services.api_keys import NewKey

_SCOPES = "\n".join(f"  {scope:<15}{meaning}" for scope, meaning in SCOPE_MEANINGS.items())
HELP = f"""API keys, and tokens for development.

A caller sends its key in the header x-api-key. Keys are stored as hashes: the text of a new one is
shown once. Every change counts with the next request, on every worker, without a restart. The
setting API_KEY is a key beside these, with every scope; without it production does not start
before there is one here.

\b
What a key opens, by its scopes:
{_SCOPES}

\b
Exit codes:
  0  done
  1  wrong settings, or a defect
  2  nothing to do, or wrong usage
  4  the database is away
  5  refused, with the reason
"""


@click.group(help=HELP)
def keys() -> None:
    """Hold the commands together."""


def _read_prefix(_: click.Context, __: click.Parameter, text: str) -> str:
    if KeyText.parse(text.encode(errors="replace")) is not None:
        raise click.BadParameter(
            "is a whole key, which does not belong into a command line (it is in the shell's "
            "history now): give what stands between pp_ and the second underscore"
        )
    beginning = text.removeprefix("pp_")
    if not _PREFIX.fullmatch(beginning):
        raise click.BadParameter("is no prefix: 4 to 12 of the characters 0-9 and a-f")
    return beginning


_PREFIX = re.compile(r"[0-9a-f]{4,12}")
prefix_argument = click.argument("prefix", callback=_read_prefix)
output_option = click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the key into this new file, readable by you alone, and don't print it.",
)


def _expires_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--expires-in",
        type=DURATION,
        help=f"When the new key expires, such as 90d, 12h, 30m.  [default: {default}]",
    )


@keys.command()
@click.option("--name", required=True, help="Who uses it; stands in the log with each request.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    required=True,
    multiple=True,
    help="What it opens; may be given several times.",
)
@_expires_option("never")
@output_option
@as_json_option
@with_services
def create(
    *,
    name: str,
    scopes: Sequence[str],
    expires_in: timedelta | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Make a key. Its text is all that goes to stdout, this once.

    Give each caller a key of its own, with the scopes that it needs and no other: it can be
    revoked without the others, and the log tells who did what.

    \b
    Examples:
      manage.py keys create --name shop-backend --scope patches:write --output shop.key
      manage.py keys create --name till-7 --scope pos --expires-in 90d
      KEY=$(manage.py keys create --name prometheus --scope metrics)
    """
    with _open_output(output) as opened:
        new = api_keys.create(name, [Scope(scope) for scope in scopes], expires_in)
        _hand_out(new, opened, as_json=as_json)


@keys.command("list")
@click.option(
    "--unused-days",
    type=click.IntRange(1, 3650),
    default=30,
    show_default=True,
    help="Days without use after which a live key is called unused.",
)
@as_json_option
@with_services
def list_keys(*, unused_days: int, as_json: bool) -> None:
    """List every key that was ever made, the oldest first. Secrets are not stored, so not shown.

    A use is noted at most once a minute. Exit code 2 when there is no key.

    \b
    Example, keys that nobody would miss:
      manage.py keys list --unused-days 90 --json | jq -r '.keys[] | select(.unused) | .prefix'
    """
    found = api_keys.list_keys()
    has_static = extensions.get().settings.api_key is not None
    show_keys(
        found, unused_after=timedelta(days=unused_days), has_static=has_static, as_json=as_json
    )
    if not as_json:
        _warn_where_none_is_left()
    raise SystemExit(int(ExitCode.DONE if found else ExitCode.NOTHING_TO_DO))


@keys.command()
@prefix_argument
@as_json_option
@with_services
def revoke(*, prefix: str, as_json: bool) -> None:
    """End a key at once and for good.

    PREFIX is what `keys list` shows, or its beginning. Its next request is answered with 401, on
    every worker. Exit code 2 when it was revoked before.
    """
    prefix = api_keys.find_prefix(prefix)
    is_changed = api_keys.revoke(prefix)
    show_key("Revoked", api_keys.get_key(prefix), as_json=as_json)
    _warn_where_none_is_left()
    raise SystemExit(int(ExitCode.DONE if is_changed else ExitCode.NOTHING_TO_DO))


@keys.command()
@prefix_argument
@click.option(
    "--grace",
    type=DURATION,
    required=True,
    help="How long the old key still works, such as 1h; 0 revokes it at once.",
)
@_expires_option("after as long as the old one was made for")
@output_option
@as_json_option
@with_services
def rotate(
    *,
    prefix: str,
    grace: timedelta,
    expires_in: timedelta | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Make a key that takes another's place, with the same name and scopes.

    Both work during the grace period: give the new one to the caller meanwhile. A key has one
    successor; where that one's text was lost, rotate the successor.

    \b
    Examples:
      manage.py keys rotate 3f9a12bc77d0 --grace 24h --output shop.key.new
      manage.py keys rotate 3f9a --grace 0       (the old one has leaked)
    """
    with _open_output(output) as opened:
        new = api_keys.rotate(api_keys.find_prefix(prefix), grace, expires_in)
        _hand_out(new, opened, as_json=as_json)


class _NewFile(NamedTuple):
    """A file that this command has made, open for the key."""

    path: Path
    file: FileIO


@contextmanager
def _open_output(path: Path | None) -> Iterator[_NewFile | None]:
    """Opens the file before there is a key, and takes it away again where none gets into it."""
    if path is None:
        yield None
        return
    try:
        # Never one that is there, nor through a link.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CommandError(
            f"{path} exists and is not overwritten; no key was made", ExitCode.REFUSED
        ) from None
    except OSError as error:
        raise CommandError(
            f"{path} can't be written: {error.strerror}; no key was made", ExitCode.REFUSED
        ) from None
    try:
        # Unbuffered: what can't be written fails here and not when it is closed.
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            yield _NewFile(path, file)
    except BaseException:
        if path.stat().st_size == 0:
            path.unlink()
        raise


def _hand_out(new: NewKey, output: _NewFile | None, *, as_json: bool) -> None:
    """Gives the text away: into the file, or to stdout with everything else on stderr."""
    if output is not None:
        _write(new, output)
        show_key("API key", new.facts, as_json=as_json, more={"output": str(output.path)})
    elif as_json:
        show_key("API key", new.facts, as_json=True, more={"key": new.text})
    else:
        click.echo(new.text)
        click.echo(f"{describe_key(new.facts)}. It is not shown again.", err=True)


def _write(new: NewKey, output: _NewFile) -> None:
    try:
        output.file.write(f"{new.text}\n".encode())
    except OSError as error:
        prefix = new.facts.prefix
        raise CommandError(
            f"{output.path} can't be written: {error.strerror}; the key {prefix} was made and its "
            f"text is lost: run manage.py keys rotate {prefix} --grace 0",
            ExitCode.FAILED,
        ) from None


def _warn_where_none_is_left() -> None:
    settings = extensions.get().settings
    if settings.api_key is None and not api_keys.has_live_key():
        click.echo(
            "No key works now and API_KEY is not set: nobody can register anything"
            + (", and the API does not start." if settings.is_production else "."),
            err=True,
        )


@keys.command()
@click.option("--user", required=True, help="The token's subject.")
@click.option(
    "--ttl",
    "ttl_seconds",
    type=click.IntRange(1, 86400),
    default=900,
    show_default=True,
    help="Seconds until it expires.",
)
@as_json_option
@with_services
def token(*, user: str, ttl_seconds: int, as_json: bool) -> None:
    """Issue a JWT for development, as a login would.

    Refused in production (exit code 5): there, people log in.

    \b
    Example:
      curl -H "Authorization: Bearer $(manage.py keys token --user me)" ...
    """
    if extensions.get().settings.is_production:
        raise CommandError(
            "tokens are issued by login in production; set APP_ENV=development on a devnet",
            ExitCode.REFUSED,
        )
    issued = tokens.issue(user, ttl_seconds=ttl_seconds)
    if as_json:
        show("Token", {"token": issued, "expires_in": ttl_seconds}, as_json=True)
    else:
        click.echo(issued)
