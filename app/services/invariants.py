"""What must hold at any moment, whatever has crashed: asked of the whole database and the chain.

Reads only. Work goes on meanwhile, and no two streams are read at one moment, so what looks wrong
is looked at a second time: only what is wrong both times is reported.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from app.clients.outcomes import ClientError
from app.domain.states import (
    CLAIM_TERMINAL,
    TRANSACTION_LIVE,
    TRANSACTION_WAITING,
    ClaimStatus,
    RecordStatus,
    TransactionStatus,
    UtxoStatus,
)
from app.models.claim_intent import ClaimIntent
from app.models.cursors import Row, stream
from app.models.erasure import Erasure
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import chain_consistency, claim_consistency, consistency
from app.services.consistency import Group, Patch, Problem

logger = logging.getLogger(__name__)

SECOND_LOOK_SECONDS = 1.0
_MAX_IDS = 20
# More than anybody reads: beyond it a count is a least one, and memory stays bounded.
_MAX_FINDINGS = 10_000


@dataclass(frozen=True)
class Violation:
    """What is wrong with how many things; `ids` are the first of them.

    An id is an outpoint, a patch's uid, or the id of a record or transaction.
    """

    rule: str
    detail: str
    count: int
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """The rules that were checked, those that could not be (rule -> reason), and what is wrong.

    `notices` are sentences about what is worth knowing and not wrong.
    """

    checked: tuple[str, ...]
    not_checked: Mapping[str, str]
    violations: tuple[Violation, ...]
    notices: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether every rule was checked and holds."""
        return not self.violations and not self.not_checked


@dataclass(frozen=True)
class _Condition:
    """A rule that one row can break by itself: rows that match the raw filter are wrong."""

    rule: str
    document: type[Any]
    matches: Mapping[str, Any]
    detail: str


@dataclass(frozen=True)
class _Finding:
    rule: str
    detail: str
    id: str


CHAIN_RULE = "pool-equals-chain"
_CLAIM_RULE = "claim-agrees-with-record"
_ERASED_RULE = "erased-is-gone"
_ONCE_RULE = "outpoint-spent-once"
_GROUP_RULES: Mapping[str, Callable[[Group], Iterable[Problem]]] = {
    "bytes-match-document": consistency.find_false_bytes,
    "locked-output-has-owner": consistency.find_ownerless_locks,
    "spent-output-names-spender": consistency.find_false_spends,
    "sent-input-is-secured": consistency.find_unsecured_inputs,
    "record-has-one-carrier": consistency.find_false_carriers,
}
_PATCH_RULES: Mapping[str, Callable[[Patch], Iterable[Problem]]] = {
    "patch-head-is-fold": consistency.find_false_head,
}
_WAITING_RECORDS = [RecordStatus.PENDING.value, RecordStatus.ANCHORING.value]
_WAITING_TRANSACTIONS = [status.value for status in TRANSACTION_WAITING]
_WAITING_CLAIMS = [ClaimStatus.PENDING.value, ClaimStatus.APPROVED.value]
_ENDED_CLAIMS = [status.value for status in CLAIM_TERMINAL]
_UNAPPROVED_CLAIMS = [ClaimStatus.PENDING.value, ClaimStatus.EXPIRED.value]
_MAY_NEED_OPERATOR = [TransactionStatus.ACCEPTED.value, TransactionStatus.CONTRADICTED.value]
_FREE = [UtxoStatus.UNCONFIRMED.value, UtxoStatus.AVAILABLE.value]
_SET = {"$ne": None}
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$in": lambda value, operand: value in operand,
    "$nin": lambda value, operand: value not in operand,
    "$ne": lambda value, operand: bool(value != operand),
}
_CONDITION_FIELDS = (
    "status",
    "next_attempt_at",
    "transaction_id",
    "head",
    "txid",
    "digest",
    "active_key",
    "reason",
    "lock_id",
    "locked_at",
    "held",
    "spent_txid",
    "record_id",
    "needs_operator",
    "owner",
    "salt",
    "erased_at",
    "subject",
    "finished_at",
)


def _none_of(*names: str) -> list[dict[str, Any]]:
    return [{name: None} for name in names]


def _any_of(*names: str) -> list[dict[str, Any]]:
    return [{name: _SET} for name in names]


_CONDITIONS = (
    _Condition(
        "waiting-has-next-attempt",
        AuthenticationRecord,
        {"status": {"$in": _WAITING_RECORDS}, "next_attempt_at": None},
        "a record waits and nothing will look at it",
    ),
    _Condition(
        "waiting-has-next-attempt",
        ChainTransaction,
        {"status": {"$in": _WAITING_TRANSACTIONS}, "next_attempt_at": None},
        "a transaction waits and nothing will look at it",
    ),
    _Condition(
        "ended-record-is-whole",
        AuthenticationRecord,
        {
            "status": RecordStatus.CONFIRMED.value,
            "$or": [
                *_none_of("transaction_id", "head", "txid", "digest", "active_key"),
                *_any_of("next_attempt_at", "reason"),
            ],
        },
        "a confirmed record lacks what it should have, or has what it should not",
    ),
    _Condition(
        "ended-record-is-whole",
        AuthenticationRecord,
        {
            "status": RecordStatus.FAILED.value,
            "$or": [
                *_none_of("reason"),
                *_any_of("transaction_id", "head", "active_key", "next_attempt_at"),
            ],
        },
        "a failed record still holds its uid, a transaction or a next attempt, or says no reason",
    ),
    _Condition(
        "record-has-one-carrier",
        AuthenticationRecord,
        {"status": RecordStatus.ANCHORING.value, "transaction_id": None},
        "anchoring without a transaction",
    ),
    _Condition(
        "free-output-is-unlocked",
        Utxo,
        {"status": {"$in": _FREE}, "$or": [{"held": True}, *_any_of("lock_id", "spent_txid")]},
        "an output that may be spent is locked or spent as well",
    ),
    _Condition(
        "locked-output-has-owner",
        Utxo,
        {"status": UtxoStatus.LOCKED.value, "lock_id": None},
        "locked for nobody",
    ),
    _Condition(
        "locked-output-has-owner",
        Utxo,
        {"status": UtxoStatus.LOCKED.value, "held": {"$ne": True}, "locked_at": None},
        "locked, not held and never due for reaping",
    ),
    _Condition(
        "spent-output-names-spender",
        Utxo,
        {"status": UtxoStatus.SPENT.value, "spent_txid": None},
        "spent by nobody",
    ),
    _Condition(
        "waiting-has-next-attempt",
        ClaimIntent,
        {"status": {"$in": _WAITING_CLAIMS}, "next_attempt_at": None},
        "a claim waits and nothing will look at it",
    ),
    _Condition(
        "ended-claim-is-whole",
        ClaimIntent,
        {"status": {"$in": _ENDED_CLAIMS}, "next_attempt_at": _SET},
        "a claim has ended and has a next attempt",
    ),
    _Condition(
        _CLAIM_RULE,
        ClaimIntent,
        {"status": {"$in": _UNAPPROVED_CLAIMS}, "record_id": _SET},
        "a claim that nobody approved has a record",
    ),
    _Condition(
        _CLAIM_RULE,
        ClaimIntent,
        {"status": {"$nin": _UNAPPROVED_CLAIMS}, "record_id": None},
        "an approved claim names no record",
    ),
    _Condition(
        "contradicted-is-undone",
        ChainTransaction,
        {"status": {"$in": _MAY_NEED_OPERATOR}, "needs_operator": True},
        "it has lost to another transaction, and what follows is for a person to decide",
    ),
    _Condition(
        _ERASED_RULE,
        AuthenticationRecord,
        {"owner": None, "erased_at": None},
        "a record has lost its owner, and nobody had it erased",
    ),
    _Condition(
        _ERASED_RULE,
        AuthenticationRecord,
        {"owner": None, "salt": _SET},
        "a record's owner was erased and can still be guessed by its salt",
    ),
    _Condition(
        "waiting-has-next-attempt",
        Erasure,
        {"finished_at": None, "next_attempt_at": None},
        "an erasure waits and nothing will look at it",
    ),
    _Condition(
        _ERASED_RULE,
        Erasure,
        {"finished_at": _SET, "$or": _any_of("subject", "next_attempt_at")},
        "an erasure has ended and still names somebody, or is still to be looked at",
    ),
    *(
        _Condition(
            "status-is-legal",
            document,
            {"status": {"$nin": [status.value for status in statuses]}},
            f"{noun} is in a state that does not exist",
        )
        for document, statuses, noun in (
            (AuthenticationRecord, RecordStatus, "a record"),
            (ChainTransaction, TransactionStatus, "a transaction"),
            (Utxo, UtxoStatus, "an output"),
            (ClaimIntent, ClaimStatus, "a claim"),
        )
    ),
)


def check(
    *,
    ask_database: bool = True,
    ask_chain: bool = True,
    pause_seconds: float = SECOND_LOOK_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Report:
    """Checks the rules about what is stored, and the one that compares it with the chain.

    A chain service that is away is no violation and no success: its rule is not checked.
    """
    sources = {
        name: find
        for name, find in _SOURCES.items()
        if (ask_chain if name == CHAIN_RULE else ask_database)
    }
    not_checked = {
        rule: "not asked for"
        for rule in RULES
        if not (ask_chain if rule == CHAIN_RULE else ask_database)
    }
    found = _look(sources, not_checked)
    suspicious = {name: sources[name] for name, findings in found.items() if findings}
    if suspicious:
        sleep(pause_seconds)
        again = _look(suspicious, not_checked)
        found = {name: _both(found[name], again.get(name, [])) for name in suspicious}
    summary = _summarise(f for findings in found.values() for f in findings)
    news = [each for each in summary if each.detail == chain_consistency.NOT_SYNCED]
    report = Report(
        checked=tuple(rule for rule in RULES if rule not in not_checked),
        not_checked=not_checked,
        violations=tuple(each for each in summary if each not in news),
        notices=tuple(
            f"{each.detail}: {each.count}, run `manage.py utxo sync` ({', '.join(each.ids)})"
            for each in news
        ),
    )
    _log(report)
    return report


def _log(report: Report) -> None:
    for violation in report.violations:
        logger.error(
            "invariant violated: %s",
            violation.rule,
            extra={"event": "invariant.violated", **asdict(violation)},
        )
    for notice in report.notices:
        logger.info(notice, extra={"event": "invariant.notice"})


def _look(
    sources: Mapping[str, Callable[[], Iterator[_Finding]]], not_checked: dict[str, str]
) -> dict[str, list[_Finding]]:
    found = {}
    for name, source in sources.items():
        try:
            found[name] = list(islice(source(), _MAX_FINDINGS))
        except ClientError as error:
            logger.warning("not checked: %s", error, extra={"event": "invariant.not_checked"})
            not_checked[name] = str(error)
    return found


def _both(first: Sequence[_Finding], second: Sequence[_Finding]) -> list[_Finding]:
    seen = {(finding.rule, finding.id) for finding in first}
    return [finding for finding in second if (finding.rule, finding.id) in seen]


def _summarise(findings: Iterable[_Finding]) -> tuple[Violation, ...]:
    ids: dict[tuple[str, str], list[str]] = defaultdict(list)
    for finding in findings:
        ids[finding.rule, finding.detail].append(finding.id)
    return tuple(
        Violation(rule, detail, len(all_ids), tuple(sorted(all_ids)[:_MAX_IDS]))
        for (rule, detail), all_ids in ids.items()
    )


def _find_by_condition() -> Iterator[_Finding]:
    """One query a collection finds what breaks any rule; which rule, is told here."""
    for document in dict.fromkeys(condition.document for condition in _CONDITIONS):
        mine = [condition for condition in _CONDITIONS if condition.document is document]
        for row in stream(document, {"$or": [each.matches for each in mine]}, _CONDITION_FIELDS):
            for each in mine:
                if _is_match(row, each.matches):
                    yield _Finding(each.rule, each.detail, str(row["_id"]))


def _is_match(row: Row, matches: Mapping[str, Any]) -> bool:
    """Tells what the database would, for the operators that the conditions use."""
    return all(
        any(_is_match(row, branch) for branch in wanted)
        if field == "$or"
        else _is_value(row.get(field), wanted)
        for field, wanted in matches.items()
    )


def _is_value(value: Any, wanted: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return bool(value == wanted)
    return all(_OPERATORS[operator](value, operand) for operator, operand in wanted.items())


def _find_in_groups() -> Iterator[_Finding]:
    for group in consistency.groups():
        for rule, find in _GROUP_RULES.items():
            yield from (_Finding(rule, *problem) for problem in find(group))


def _find_in_patches() -> Iterator[_Finding]:
    for patch in consistency.patches():
        for rule, find in _PATCH_RULES.items():
            yield from (_Finding(rule, *problem) for problem in find(patch))


def _find_in_claims() -> Iterator[_Finding]:
    return (_Finding(_CLAIM_RULE, *found) for found in claim_consistency.find_disagreements())


def _find_double_spends() -> Iterator[_Finding]:
    """One that is only signed may name an output that it has lost: it can't be committed any more.

    Dead ones were never valid or have lost for good.
    """
    sent = [s.value for s in TRANSACTION_LIVE if s is not TransactionStatus.SIGNED]
    doubles = ChainTransaction.objects(status__in=sent).aggregate(
        [
            {"$unwind": "$inputs"},
            {"$group": {"_id": "$inputs.outpoint", "times": {"$sum": 1}}},
            {"$match": {"times": {"$gt": 1}}},
        ],
        allowDiskUse=True,
    )
    detail = "spent by more than one live transaction"
    return (_Finding(_ONCE_RULE, detail, str(row["_id"])) for row in doubles)


def _find_on_chain() -> Iterator[_Finding]:
    return (_Finding(CHAIN_RULE, *found) for found in chain_consistency.find_differences())


_SOURCES: Mapping[str, Callable[[], Iterator[_Finding]]] = {
    _ONCE_RULE: _find_double_spends,
    "groups": _find_in_groups,
    "patches": _find_in_patches,
    "claims": _find_in_claims,
    "conditions": _find_by_condition,
    # The only one that an outside service can keep from being checked.
    CHAIN_RULE: _find_on_chain,
}
RULES: tuple[str, ...] = tuple(
    dict.fromkeys(
        (
            _ONCE_RULE,
            *_GROUP_RULES,
            *_PATCH_RULES,
            *(condition.rule for condition in _CONDITIONS),
            CHAIN_RULE,
        )
    )
)
