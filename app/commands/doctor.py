"""`manage.py doctor`: is everything as it must be."""

from __future__ import annotations

from dataclasses import asdict

import click

from app.commands._console import ExitCode, as_json_option, progress, show, show_rows, with_services
from app.domain.clock import utc_now
from app.services import invariants as service
from app.services import mailing, readiness
from app.services.invariants import Report


@click.group()
def doctor() -> None:
    """Examine the service; nothing is changed.

    \b
    In place of the older scripts:
      check-health.js          doctor health
      smoke-health.js          doctor health, or GET /health and /ready
      pingMongo.js             doctor health
    """


@doctor.command()
@click.option("--no-chain", is_flag=True, help="Leave out what only the chain service can tell.")
@as_json_option
@with_services
def invariants(*, no_chain: bool, as_json: bool) -> None:
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
        report = service.check(ask_chain=not no_chain)
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
