"""What can only be told by reading everything: asked now and then by beat, never by a scrape.

Whether the invariants hold, and how many records, transactions and outputs there are in all.
What was found is kept in `settings`, so that any process, and a restored one, can tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.clock import utc_now
from app.domain.states import RecordStatus, TransactionStatus, UtxoStatus
from app.models.base import StatefulDocument
from app.models.record import AuthenticationRecord
from app.models.setting import CHECKUP, Setting
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import invariants
from app.services.invariants import Report
from app.services.maintenance import exclusive

LOCK = "checkup"


@dataclass(frozen=True)
class Checkup:
    """When it was made, how many things break each rule, and what was not checked and why.

    Every rule that was checked is in `broken`, with 0 where it holds. `records`, `transactions` and
    `utxos` count by status.
    """

    checked_at: datetime
    broken: Mapping[str, int]
    not_checked: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, int] = field(default_factory=dict)
    transactions: Mapping[str, int] = field(default_factory=dict)
    utxos: Mapping[str, int] = field(default_factory=dict)


def run(*, no_chain: bool = False) -> Report:
    """Checks, counts and keeps what was found; one at a time across hosts.

    Raises:
        LockHeldError: another process is at it.
        UnavailableError: Redis is away.
    """
    with exclusive(LOCK):
        report = invariants.check(ask_chain=not no_chain)
        Setting.put(CHECKUP, vars(_sum_up(report)))
        return report


def _sum_up(report: Report) -> Checkup:
    broken = Counter(dict.fromkeys(report.checked, 0))
    for violation in report.violations:
        broken[violation.rule] += violation.count
    return Checkup(
        checked_at=utc_now(),
        broken=dict(broken),
        not_checked=dict(report.not_checked),
        records=_count(AuthenticationRecord, RecordStatus),
        transactions=_count(ChainTransaction, TransactionStatus),
        utxos=_count(Utxo, UtxoStatus),
    )


def find_last() -> Checkup | None:
    """Finds the last one; None before the first, or where another release has written it."""
    stored: Any = Setting.find_value(CHECKUP)
    if not isinstance(stored, Mapping):
        return None
    known = {name: stored[name] for name in Checkup.__dataclass_fields__ if name in stored}
    try:
        return Checkup(**known)
    except TypeError:
        return None


def _count(document: type[StatefulDocument], statuses: type[StrEnum]) -> dict[str, int]:
    """How many there are in each state, those without any included."""
    groups = document.objects.aggregate([{"$group": {"_id": "$status", "count": {"$sum": 1}}}])
    counted = {group["_id"]: int(group["count"]) for group in groups}
    return {status.value: counted.get(status.value, 0) for status in statuses}
