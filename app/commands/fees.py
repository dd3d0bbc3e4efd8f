"""`manage.py fees`: what is paid for a kilobyte."""

from __future__ import annotations

import re

import click

from app.commands._console import (
    CommandError,
    ExitCode,
    as_json_option,
    show,
    with_services,
)
from app.services import fees as fee_service
from app.services import knobs

_HTTP = re.compile(r"https?://[^/]", re.IGNORECASE)


@click.group()
def fees() -> None:
    """What is paid for a kilobyte (1000 bytes), in satoshis.

    The operator's rate counts first, then what the network asks for while that is fresh, then
    FEE_PER_KB. Changes count at once, without a restart.
    """


@fees.command("show")
@as_json_option
@with_services
def show_fee(*, as_json: bool) -> None:
    """Show today's rate and where it comes from."""
    _show_today(as_json=as_json)


@fees.command()
@click.option("--set", "rate", type=int, help="Fix this rate, whatever the network asks for.")
@click.option("--from-url", "url", help="Fix the rate of this page: JSON with feePerKb.")
@click.option("--unset", is_flag=True, help="Take the fixed rate back.")
@as_json_option
@with_services
def refresh(*, rate: int | None, url: str | None, unset: bool, as_json: bool) -> None:
    """Ask the network what it wants, or fix a rate. In place of fees/refresh-fee.js.

    Asking is also done every few minutes by a task.

    \b
    Exit codes: 0 done, 2 nothing to do or wrong usage, 4 no usable answer, 5 refused.
    """
    if sum((rate is not None, url is not None, unset)) > 1:
        raise click.UsageError("--set, --from-url and --unset exclude one another")
    if url is not None and not _HTTP.match(url):
        raise click.BadParameter("is no http or https URL", param_hint="--from-url")
    is_changed = True
    if rate is not None:
        fee_service.fix(rate)
    elif url is not None:
        fee_service.fix_from_page(url)
    elif unset:
        is_changed = fee_service.unfix()
    elif fee_service.refresh() is None:
        raise CommandError("no broadcaster names a fee; nothing changed", ExitCode.SERVICE_AWAY)
    _show_today(as_json=as_json)
    raise SystemExit(int(ExitCode.DONE if is_changed else ExitCode.NOTHING_TO_DO))


def _show_today(*, as_json: bool) -> None:
    today = knobs.load()
    values = {
        "satoshis_per_kilobyte": today.satoshis_per_kilobyte,
        "source": today.fee_source,
    }
    show("Fee", values, as_json=as_json)
