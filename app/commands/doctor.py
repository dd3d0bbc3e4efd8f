"""`manage.py doctor`: is everything as it must be."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.markup import escape

from app import extensions, logs
from app.commands._console import (
    ExitCode,
    as_json_option,
    close_services,
    progress,
    show,
    show_rows,
    with_services,
)
from app.config import Settings, SettingsError, load_settings
from app.domain.clock import utc_now
from app.services import checkup, diagnosis, mailing, readiness
from app.services import invariants as service
from app.services.diagnosis import Check
from app.services.invariants import Report


@click.group(invoke_without_command=True)
@click.option("--quick", is_flag=True, help="Take the last checkup's word for the invariants.")
@as_json_option
@click.pass_context
def doctor(context: click.Context, *, quick: bool, as_json: bool) -> None:
    """Examine everything: settings, services, keys, clocks, work, money, invariants, versions.

    Says of each what was found, and of what is not good what to do. Nothing is changed.

    \b
    Exit codes:
      0  everything is good
      1  something is not, or the settings can't be used

    \b
    In place of the older scripts:
      check-health.js          doctor health
      smoke-health.js          doctor health, or GET /health and /ready
      pingMongo.js             doctor health
    """
    if context.invoked_subcommand is None:
        raise SystemExit(int(_examine(reads_everything=not quick, as_json=as_json)))


def _examine(*, reads_everything: bool, as_json: bool) -> ExitCode:
    try:
        settings = load_settings()
    except SettingsError as error:
        advice = "correct the environment file and ask again"
        checks = [Check("settings", "environment", is_good=False, found=str(error), advice=advice)]
    else:
        checks = _diagnose(settings, reads_everything=reads_everything)
    is_good = all(check.is_good for check in checks)
    if as_json:
        show("Doctor", {"ok": is_good, "checks": [asdict(check) for check in checks]}, as_json=True)
    else:
        show_rows("Doctor", ("", "", "", "found", "what to do"), [_row(check) for check in checks])
    return ExitCode.DONE if is_good else ExitCode.FAILED


def _diagnose(settings: Settings, *, reads_everything: bool) -> list[Check]:
    # What the clients log of their tries would stand around the table.
    logs.configure("error", service="manage", release=settings.deploy_sha)
    extensions.init(settings)
    try:
        return list(diagnosis.diagnose(reads_everything=reads_everything))
    finally:
        close_services()


def _row(check: Check) -> tuple[str, ...]:
    mark = "[green]good[/green]" if check.is_good else "[red]BAD[/red]"
    words = (check.group, check.name, check.found, check.advice)
    group, name, found, advice = (escape(word) for word in words)
    return group, name, mark, found, advice


@doctor.command()
@click.option("--no-chain", is_flag=True, help="Leave out what only the chain service can tell.")
@click.option("--keep", is_flag=True, help="Keep what is found, and totals, for monitoring.")
@as_json_option
@with_services
def invariants(*, no_chain: bool, keep: bool, as_json: bool) -> None:
    """Check that no output is spent twice, none is forgotten, and records and chain agree.

    Reads everything that is stored, in streams, and may run beside the service. Payments
    from outside that no sync has seen yet are named, and are no violation.

    \b
    Exit codes:
      0  every rule that was asked for holds
      1  one is violated; the ids say where
      4  the chain service is away: its rule was not checked, all others hold
    """
    with progress(as_json=as_json) as report_progress:
        report_progress("check", 0, None)
        report = checkup.run(no_chain=no_chain) if keep else service.check(ask_chain=not no_chain)
    if as_json:
        values = asdict(report)
        show("Invariants", {"ok": not report.violations} | values, as_json=True)
    else:
        _print_invariants(report)
    raise SystemExit(int(_exit_code(report, no_chain=no_chain)))


@doctor.command()
@as_json_option
@with_services
def health(*, as_json: bool) -> None:
    """Ask every part that the service needs, and compare the pool with the chain.

    Wrong settings are named before anything is asked. Exit code 1 when a check fails.
    """
    parts = readiness.check().parts
    checks = [{"name": "settings", "status": "PASS", "details": "complete"}]
    checks += [_check(name, reason) for name, reason in parts.items()]
    checks.append(_check("mail", mailing.find_problem()))
    if parts["database"] is None:
        checks.append(_check("pool against chain", _find_pool_problem()))
    overall = "FAIL" if any(check["status"] == "FAIL" for check in checks) else "PASS"
    if as_json:
        values = {"overallStatus": overall, "timestamp": utc_now().isoformat(), "checks": checks}
        show("Health", values, as_json=True)
    else:
        rows = [tuple(check.values()) for check in checks]
        show_rows(f"Health: {overall}", ("check", "status", "details"), rows)
    raise SystemExit(int(ExitCode.DONE if overall == "PASS" else ExitCode.FAILED))


def _check(name: str, problem: str | None) -> dict[str, str]:
    return {"name": name, "status": "FAIL" if problem else "PASS", "details": problem or "answers"}


def _find_pool_problem() -> str | None:
    report = service.check(ask_database=False)
    if report.not_checked.get(service.CHAIN_RULE):
        return f"not checked: {report.not_checked[service.CHAIN_RULE]}"
    found = [f"{each.count}: {each.detail} ({', '.join(each.ids)})" for each in report.violations]
    return "; ".join(found) or None


def _print_invariants(report: Report) -> None:
    broken = {violation.rule for violation in report.violations}
    rows = [(rule, "VIOLATED" if rule in broken else "holds") for rule in report.checked]
    rows += [(rule, f"not checked: {reason}") for rule, reason in report.not_checked.items()]
    show_rows("Invariants", ("rule", "result"), rows)
    for violation in report.violations:
        click.echo(f"\n{violation.rule}: {violation.detail} ({violation.count})")
        # A line each, never folded: people copy them.
        for each in violation.ids:
            click.echo(f"  {each}")
    for notice in report.notices:
        click.echo(f"\n{notice}")


def _exit_code(report: Report, *, no_chain: bool) -> ExitCode:
    if report.violations:
        return ExitCode.FAILED
    is_away = service.CHAIN_RULE in report.not_checked and not no_chain
    return ExitCode.SERVICE_AWAY if is_away else ExitCode.DONE
