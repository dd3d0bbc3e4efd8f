"""Keeps the pool at many useful outputs, so that many records can be anchored at once.

Below its low water mark the pool is filled up to its high water mark, in as many rounds as it
takes, each a stored transaction with the same life as any other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app import extensions, queue
from app.bitcoin.addresses import parse_address
from app.bitcoin.transactions import TxOutput
from app.domain.clock import utc_now
from app.domain.fees import spending_cost
from app.domain.splitting import SplitPlan, SplitRound, SplitRule, plan_split
from app.errors import InvalidInputError, LockLostError
from app.models.setting import SPLIT_LEASE, Setting
from app.models.transaction import TransactionKind
from app.models.utxo import Utxo
from app.services import drawing, knobs, reshaping
from app.services.knobs import Knobs
from app.services.maintenance import Guard, exclusive
from app.services.reshaping import OnProgress, SentTransaction, unwatched

logger = logging.getLogger(__name__)

MAX_ROUNDS = 50
# Others may lock the output that a round was about to split.
_SPARE_ROUNDS = 10
# An estimate of so many times the low water mark is not wrong by so much: nobody need count.
_PLENTY = 2
# How soon a process looks again: after it found enough, and after it has asked for more.
_LOOK_SECONDS = 1.0
_ASK_SECONDS = 10.0
_look_again_at: dict[str, float] = {}


class SplitOutcome(StrEnum):
    DONE = "done"
    HEALTHY = "pool_healthy"
    COOLING_DOWN = "cooling_down"
    LEASE_HELD = "lease_held"
    NO_FUNDS = "no_large_utxo_available"
    NOT_ACCEPTED = "not_accepted"


@dataclass(frozen=True)
class SplitReport:
    """How a split ended: useful outputs before, new ones with change, and what was sent."""

    outcome: SplitOutcome
    available: int
    target: int
    outputs: int = 0
    transactions: Sequence[SentTransaction] = ()

    @property
    def is_accepted(self) -> bool:
        """Whether the network has every transaction of it."""
        return all(each.is_accepted for each in self.transactions)


def plan(*, target: int | None = None, size: int | None = None) -> SplitPlan:
    """Plans a split; reads only.

    `target` is the number of useful outputs to reach, by default the high water mark once there
    are fewer than the low one; `size` the satoshis of each.

    Raises:
        InvalidInputError: the size is dust, or the funds don't reach a target that was asked for.
    """
    today = knobs.load()
    rule = _rule(today, target, size)
    key_identifier = extensions.get().settings.utxo_funding_key_identifier
    available = Utxo.count_available(key_identifier, at_least=rule.useful_satoshis)
    if available >= rule.low:
        return SplitPlan(available, available, (), available)
    # What is not useful can't be split either, so as many as there may be useful ones are enough.
    coins = Utxo.list_available(key_identifier, limit=rule.low)
    planned = plan_split(coins, rule, max_rounds=MAX_ROUNDS)
    if target is not None and planned.is_short:
        raise InvalidInputError.for_field("target", _why_short(planned, coins, rule))
    return planned


def split(
    *,
    target: int | None = None,
    size: int | None = None,
    ignore_cooldown: bool = False,
    on_progress: OnProgress = unwatched,
) -> SplitReport:
    """Splits until the target is reached; does nothing where it is, or soon after another split.

    Raises:
        LockHeldError: somebody else maintains the pool.
        InvalidInputError: see `plan`.
        SignerUnavailableError: the signer did not sign; everything is free again.
    """
    with exclusive() as guard:
        return split_under(
            guard,
            target=target,
            size=size,
            ignore_cooldown=ignore_cooldown,
            on_progress=on_progress,
        )


def split_under(
    guard: Guard,
    *,
    target: int | None = None,
    size: int | None = None,
    ignore_cooldown: bool = False,
    on_progress: OnProgress = unwatched,
) -> SplitReport:
    """The same for whoever has the lock."""
    planned = plan(target=target, size=size)
    if not planned.rounds:
        return _report(_why_nothing(planned), planned)
    today = knobs.load()
    if not ignore_cooldown and _is_cooling_down(today, utc_now()):
        return _report(SplitOutcome.COOLING_DOWN, planned)
    if not _take_lease(guard, today):
        return _report(SplitOutcome.LEASE_HELD, planned)
    sent: list[SentTransaction] = []
    try:
        _run(guard, planned, size, sent, on_progress)
    finally:
        facts = {"finished_at": utc_now()} if sent else {}
        Setting.end_lease(SPLIT_LEASE, guard.owner, utc_now(), **facts)
    is_done = bool(sent) and sent[-1].is_accepted
    outcome = SplitOutcome.DONE if is_done else SplitOutcome.NOT_ACCEPTED
    return _report(outcome if sent else SplitOutcome.NO_FUNDS, planned, sent)


def ask_if_low(today: Knobs) -> None:
    """Has the pool filled up by a worker where it is below its low water mark.

    Cheap: counts up to the mark, at most once a second and not where the last draw saw plenty, and
    asks at most once in ten. Without workers, in synchronous mode, nobody would take the messages
    away.
    """
    settings = extensions.get().settings
    now = time.monotonic()
    if not settings.jobs_async or now < _look_again_at.get(settings.db_name, now):
        return
    is_low = _is_low(settings.utxo_funding_key_identifier, today)
    _look_again_at[settings.db_name] = now + (_ASK_SECONDS if is_low else _LOOK_SECONDS)
    if is_low:
        queue.enqueue(queue.Task.SPLIT_POOL)


def _is_low(key_identifier: str, today: Knobs) -> bool:
    useful = today.useful_satoshis
    if drawing.estimate(key_identifier, at_least=useful) > _PLENTY * today.min_pool:
        return False
    available = Utxo.count_available(key_identifier, at_least=useful, limit=today.min_pool)
    return available < today.min_pool


def _rule(today: Knobs, target: int | None, size: int | None) -> SplitRule:
    satoshis_each = today.split_size if size is None else size
    if satoshis_each < today.dust_threshold:
        raise InvalidInputError.for_field(
            "size",
            f"{satoshis_each} satoshis are dust: DUST_THRESHOLD_SATS is {today.dust_threshold}, "
            "so the next sweep would gather them again",
        )
    if satoshis_each <= spending_cost(today.satoshis_per_kilobyte):
        raise InvalidInputError.for_field(
            "size", f"{satoshis_each} satoshis don't pay for their own spending"
        )
    return SplitRule(
        low=today.min_pool if target is None else target,
        high=today.max_pool if target is None else target,
        size=satoshis_each,
        useful_satoshis=min(today.useful_satoshis, satoshis_each),
        max_outputs=today.max_split_outputs,
        satoshis_per_kilobyte=today.satoshis_per_kilobyte,
    )


def _why_short(planned: SplitPlan, coins: Sequence[Utxo], rule: SplitRule) -> str:
    if len(planned.rounds) == MAX_ROUNDS:
        return (
            f"{planned.target} outputs take more than {MAX_ROUNDS} transactions of "
            f"MAX_SPLIT_OUTPUTS={rule.max_outputs}"
        )
    total = sum(coin.satoshis for coin in coins)
    return (
        f"the pool's outputs hold {total} satoshis, enough for {planned.expected} outputs of "
        f"{rule.size}, not for {planned.target}"
    )


def _why_nothing(planned: SplitPlan) -> SplitOutcome:
    if not planned.is_short:
        return SplitOutcome.HEALTHY
    logger.warning(
        "the pool is low and no output is large enough to be split",
        extra={
            "event": "pool.short",
            "available": planned.available,
            "target": planned.target,
        },
    )
    return SplitOutcome.NO_FUNDS


def _is_cooling_down(today: Knobs, now: datetime) -> bool:
    finished_at = (Setting.find_value(SPLIT_LEASE) or {}).get("finished_at")
    cooldown = timedelta(milliseconds=today.split_cooldown_ms)
    return finished_at is not None and now < finished_at + cooldown


def _take_lease(guard: Guard, today: Knobs) -> bool:
    """Takes or renews the right to split, kept in the database: it outlives a Redis that forgot."""
    guard.check()
    now = utc_now()
    until = now + timedelta(milliseconds=today.split_lease_ms)
    return Setting.take_lease(SPLIT_LEASE, guard.owner, now, until)


def _run(
    guard: Guard,
    planned: SplitPlan,
    size: int | None,
    sent: list[SentTransaction],
    on_progress: OnProgress,
) -> None:
    """Sends one transaction a round; plans anew after each, since others use the pool meanwhile."""
    for _ in range(len(planned.rounds) + _SPARE_ROUNDS):
        on_progress("split", len(sent), len(planned.rounds))
        today = knobs.load()
        left = _plan_rest(planned, size, today)
        if left is None:
            return
        if sent and not _take_lease(guard, today):
            raise LockLostError("the lease on splitting went to somebody else")
        transaction = _send(guard, left, today.satoshis_per_kilobyte)
        if transaction is None:
            continue
        sent.append(transaction)
        if not transaction.is_accepted:
            # Its change is not there yet; the next split goes on from it.
            return


def _plan_rest(planned: SplitPlan, size: int | None, today: Knobs) -> SplitRound | None:
    """The next round towards the target that was planned at first."""
    rule = _rule(today, planned.target, size)
    key_identifier = extensions.get().settings.utxo_funding_key_identifier
    coins = Utxo.list_available(key_identifier, limit=rule.low)
    rounds = plan_split(coins, rule, max_rounds=1).rounds
    return rounds[0] if rounds else None


def _send(guard: Guard, planned: SplitRound, rate: int) -> SentTransaction | None:
    """One round; None where somebody else has locked the output."""
    settings = extensions.get().settings
    locked = reshaping.lock([str(planned.outpoint)], guard)
    if not locked.coins:
        return None
    script = parse_address(settings.utxo_funding_address, settings.woc_network).locking_script()
    return reshaping.send(
        TransactionKind.SPLIT,
        locked,
        (TxOutput(planned.satoshis_each, script),) * planned.outputs,
        satoshis_per_kilobyte=rate,
        guard=guard,
    )


def _report(
    outcome: SplitOutcome, planned: SplitPlan, sent: Sequence[SentTransaction] = ()
) -> SplitReport:
    report = SplitReport(
        outcome=outcome,
        available=planned.available,
        target=planned.target,
        outputs=sum(each.outputs for each in sent),
        transactions=tuple(sent),
    )
    logger.info(
        "split: %s",
        outcome.value,
        extra={
            "event": "pool.split",
            "outcome": outcome.value,
            "available": report.available,
            "target": report.target,
            "outputs": report.outputs,
            "txids": [each.txid for each in sent],
        },
    )
    return report
