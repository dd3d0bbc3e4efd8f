"""Everything that a person would look at when asked what is wrong, with what to do about each."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pymongo
import redis
from pymongo.errors import PyMongoError

from app import extensions
from app.clients.outcomes import ClientError
from app.config import ignored_settings
from app.domain.clock import utc_now
from app.errors import PatchProofError
from app.queue import Task
from app.services import (
    checkup,
    fuel_gauge,
    invariants,
    mailing,
    measuring,
    migrating,
    start_checks,
)
from app.services.start_checks import Kind

# Clocks may differ by this much: leases, expiry and the freshness of claims count in seconds.
SKEW_SECONDS = 2.0
# A block's time may be ahead of the world's by two hours, by the rules of the network.
_BLOCK_AHEAD_SECONDS = 2 * 60 * 60
_OLDEST_REDIS, _OLDEST_MONGODB = (6, 2), (5, 0)
_DATABASE_SECONDS = 8.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found, and what to do where it is not good."""

    group: str
    name: str
    is_good: bool
    found: str
    advice: str = ""


def diagnose(*, reads_everything: bool) -> Iterator[Check]:
    """Yields one check after another; what is away makes its own red, and others go on.

    With `reads_everything` the invariants are checked now, else the last checkup's word is taken.
    """
    yield Check("settings", "environment", is_good=True, found="complete")
    yield _ignored()
    yield from _needs()
    yield from _guarded("database", "migrations", _migrations)
    yield from _guarded("mail", "server", _mail)
    yield from _guarded("clocks", "redis", _redis_clock)
    yield from _guarded("clocks", "database", _database_clock)
    yield from _guarded("clocks", "chain", _chain_clock)
    yield from _guarded("work", "processes", _processes)
    yield from _guarded("work", "sweeper", _sweeper)
    yield from _guarded("money", "pool", _pool)
    yield from _guarded("promises", "invariants", _check_now if reads_everything else _check_last)
    yield from _guarded("versions", "python", _python)
    yield from _guarded("versions", "redis", _redis_version)
    yield from _guarded("versions", "database", _database_version)


def _guarded(group: str, name: str, question: Callable[[], Check]) -> Iterator[Check]:
    try:
        yield question()
    except (ClientError, PatchProofError, PyMongoError, redis.RedisError) as error:
        # The class alone: the text of these errors names hosts, and the needs above say more.
        reason = type(error).__name__
        advice = "bring back what does not answer, and ask again"
        yield Check(group, name, is_good=False, found=f"no answer ({reason})", advice=advice)


def _ignored() -> Check:
    names = ", ".join(ignored_settings())
    found = f"ignored, as nothing reads them: {names}" if names else "none is ignored"
    return Check("settings", "older names", is_good=True, found=found)


def _needs() -> Iterator[Check]:
    """What a start asks for: services, writing, indexes, keys and their addresses."""
    for finding in start_checks.examine(Kind.WEB):
        problem = finding.problem
        found = "good" if problem is None else problem
        yield Check("needs", finding.name, is_good=problem is None, found=found)


def _migrations() -> Check:
    with pymongo.timeout(_DATABASE_SECONDS):
        now = migrating.status()
    missing = [*now.pending, *now.indexes.missing]
    if missing:
        return _bad("database", "migrations", ", ".join(missing), "manage.py db migrate")
    if now.awaits_comparison_since is not None:
        found = f"restored {now.awaits_comparison_since:%F %R} and not compared with the chain"
        return _bad("database", "migrations", found, "manage.py db compare")
    return _good("database", "migrations", f"{len(now.applied)} made, every index is there")


def _mail() -> Check:
    problem = mailing.find_problem()
    if problem is not None:
        return _bad("mail", "server", problem, "correct SMTP_HOST, SMTP_PORT, SMTP_USER, SMTP_PASS")
    return _good("mail", "server", "answers")


def _redis_clock() -> Check:
    before = time.time()
    seconds, microseconds = extensions.get().redis.time()
    return _compare("redis", int(seconds) + int(microseconds) / 1e6, before)


def _database_clock() -> Check:
    before = time.time()
    hello = _ask_database("hello")
    told: datetime = hello["localTime"]
    return _compare("database", told.replace(tzinfo=UTC).timestamp(), before)


def _compare(name: str, told: float, asked_at: float) -> Check:
    """By how much a clock differs from ours, at best: it was read some time within the call."""
    skew = max(0.0, asked_at - told, told - time.time())
    if skew > SKEW_SECONDS:
        advice = "have both hosts keep time (chrony or systemd-timesyncd)"
        return _bad("clocks", name, f"differs by {skew:.1f} s from this host's", advice)
    return _good("clocks", name, f"within {SKEW_SECONDS:.0f} s of this host's")


def _chain_clock() -> Check:
    chain = extensions.get().chain
    tip = chain.get_header(chain.get_chain_info().tip_hash)
    ahead = tip.header.timestamp - time.time()
    if ahead > _BLOCK_AHEAD_SECONDS:
        found = f"the best block is of {ahead / 3600:.1f} hours from now"
        return _bad("clocks", "chain", found, "set this host's clock")
    return _good("clocks", "chain", f"the best block, {tip.height}, is not from the future")


def _processes() -> Check:
    running = Counter(process.service for process in measuring.read().processes)
    missing = [kind.value for kind in start_checks.SERVICES if not running[kind.value]]
    found = ", ".join(f"{kind}: {running[kind]}" for kind in start_checks.SERVICES)
    if missing:
        advice = "systemctl start patchproof.target, then journalctl -u 'patchproof-*'"
        return _bad("work", "processes", found, advice)
    return _good("work", "processes", found)


def _sweeper() -> Check:
    series = ("patchproof_task_last_done_timestamp_seconds", "", Task.SWEEP.value)
    done_at = measuring.read().moments.get(series)
    longest = 5 * 60 + extensions.get().settings.sweep_interval_seconds
    if done_at is None or time.time() - done_at > longest:
        when = "never" if done_at is None else f"{(time.time() - done_at) / 60:.0f} minutes ago"
        return _bad("work", "sweeper", f"done {when}", "docs/runbooks/workers-silent.md")
    return _good("work", "sweeper", f"done {time.time() - done_at:.0f} s ago")


def _pool() -> Check:
    with pymongo.timeout(_DATABASE_SECONDS):
        gauge = fuel_gauge.read()
    warnings = fuel_gauge.list_warnings(gauge)
    if warnings:
        address = extensions.get().settings.utxo_funding_address
        advice = f"pay {address}, then manage.py utxo maintain (docs/runbooks/runway-short.md)"
        return _bad("money", "pool", "; ".join(warnings), advice)
    return _good("money", "pool", f"pays for {gauge.registrations_left} registrations")


def _check_now() -> Check:
    report = invariants.check()
    broken = [f"{each.rule}: {each.count}" for each in report.violations]
    return _judge(broken, list(report.not_checked), "now")


def _check_last() -> Check:
    last = checkup.find_last()
    if last is None:
        found = "beat has not checked yet"
        return _bad("promises", "invariants", found, "manage.py doctor invariants --keep")
    broken = [f"{rule}: {count}" for rule, count in last.broken.items() if count]
    age = (utc_now() - last.checked_at).total_seconds()
    return _judge(broken, list(last.not_checked), f"{age / 60:.0f} minutes ago")


def _judge(broken: list[str], not_checked: list[str], when: str) -> Check:
    if broken:
        advice = "manage.py doctor invariants, docs/runbooks/invariant-broken.md"
        return _bad("promises", "invariants", f"{when}: {', '.join(broken)}", advice)
    if not_checked:
        found = f"{when}: not checked: {', '.join(not_checked)}"
        return _bad("promises", "invariants", found, "bring the chain service back, and ask again")
    return _good("promises", "invariants", f"hold, asked {when}")


def _python() -> Check:
    settings = extensions.get().settings
    return _good("versions", "python", f"{platform.python_version()}, {settings.deploy_sha}")


def _redis_version() -> Check:
    text = str(extensions.get().redis.info("server")["redis_version"])
    return _compare_version("redis", text, _OLDEST_REDIS)


def _database_version() -> Check:
    return _compare_version("database", str(_ask_database("buildInfo")["version"]), _OLDEST_MONGODB)


def _compare_version(name: str, text: str, oldest: tuple[int, int]) -> Check:
    major, minor = (int(part) for part in text.split(".")[:2])
    if (major, minor) < oldest:
        wanted = ".".join(str(part) for part in oldest)
        return _bad("versions", name, text, f"upgrade it to {wanted} or later")
    return _good("versions", name, text)


def _ask_database(command: str) -> dict[str, Any]:
    with pymongo.timeout(_DATABASE_SECONDS):
        return extensions.get().database.admin.command(command)


def _good(group: str, name: str, found: str) -> Check:
    return Check(group, name, is_good=True, found=found)


def _bad(group: str, name: str, found: str, advice: str) -> Check:
    return Check(group, name, is_good=False, found=found, advice=advice)
