"""How to turn few large outputs into many useful ones. Pure: it plans, locking decides."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.bitcoin.scripts import p2pkh_locking_script
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.domain.fees import InsufficientFundsError, with_change
from app.domain.selection import Coin

_ANY_HASH160 = bytes(20)
_ANY_SCRIPT = p2pkh_locking_script(_ANY_HASH160)
_ANY_POINT = Outpoint("00" * 32, 0)
_OUTPUT_SIZE = len(TxOutput(0, _ANY_SCRIPT).to_bytes())


@dataclass(frozen=True)
class SplitRule:
    """What a split aims at: useful outputs hold at least `useful_satoshis`, new ones `size`.

    Below `low` useful outputs it fills up to `high`, `max_outputs` a transaction.
    """

    low: int
    high: int
    size: int
    useful_satoshis: int
    max_outputs: int
    satoshis_per_kilobyte: int


@dataclass(frozen=True)
class SplitRound:
    """One transaction: the output to split, None for the change of an earlier round."""

    outpoint: str | None
    satoshis: int
    outputs: int
    satoshis_each: int
    fee_satoshis: int
    change_satoshis: int


@dataclass(frozen=True)
class SplitPlan:
    """The rounds that bring `available` useful outputs towards `target`; none where all is well.

    `expected` is how many there are then: below the target where the funds don't reach.
    """

    available: int
    target: int
    rounds: tuple[SplitRound, ...]
    expected: int

    @property
    def outputs(self) -> int:
        """New outputs of all rounds, without change."""
        return sum(each.outputs for each in self.rounds)

    @property
    def is_short(self) -> bool:
        return self.expected < self.target


def plan_split(coins: Sequence[Coin], rule: SplitRule, *, max_rounds: int) -> SplitPlan:
    """Plans rounds, each splitting the largest output that there is by then.

    The change of a round may be split by a later one.
    """
    count = available = sum(coin.satoshis >= rule.useful_satoshis for coin in coins)
    if available >= rule.low:
        return SplitPlan(available, available, (), available)
    # A heap gives the smallest: so amounts below zero, and the outpoint decides among equals.
    heap = [(-coin.satoshis, coin.outpoint) for coin in coins]
    heapq.heapify(heap)
    rounds: list[SplitRound] = []
    while heap and count < rule.high and len(rounds) < max_rounds:
        negative, outpoint = heapq.heappop(heap)
        found = _best_round(-negative, outpoint or None, rule, rule.high - count)
        if found is None:
            break
        rounds.append(found)
        count += _gain(found, rule)
        if found.change_satoshis:
            heapq.heappush(heap, (-found.change_satoshis, ""))
    return SplitPlan(available, rule.high, tuple(rounds), count)


def _best_round(
    satoshis: int, outpoint: str | None, rule: SplitRule, wanted: int
) -> SplitRound | None:
    """The round that gains as many useful outputs as are wanted, or as the coin can pay for."""
    # The split output goes, so one more than is wanted; one less where the change is useful.
    for outputs in _candidates(satoshis, rule, wanted + 1):
        try:
            fee, change = price_split(satoshis, outputs, rule)
        except InsufficientFundsError:
            continue
        found = SplitRound(outpoint, satoshis, outputs, rule.size, fee, change)
        if _gain(found, rule) <= wanted:
            return found if _gain(found, rule) > 0 else None
    return None


def _candidates(satoshis: int, rule: SplitRule, most: int) -> Iterable[int]:
    cost = rule.size + _OUTPUT_SIZE * rule.satoshis_per_kilobyte // 1000
    most = min(rule.max_outputs, most, satoshis // cost)
    return range(most, 0, -1)


def _gain(made: SplitRound, rule: SplitRule) -> int:
    is_change_useful = made.change_satoshis >= rule.useful_satoshis
    was_useful = made.satoshis >= rule.useful_satoshis
    return made.outputs + int(is_change_useful) - int(was_useful)


def price_split(satoshis: int, outputs: int, rule: SplitRule) -> tuple[int, int]:
    """Fee and change in satoshis of splitting one output, exactly as signing computes them.

    Raises:
        InsufficientFundsError: the output does not pay for so many.
    """
    spending = TxInput(_ANY_POINT, TxOutput(satoshis, _ANY_SCRIPT))
    paid = (TxOutput(rule.size, _ANY_SCRIPT),) * outputs
    unsigned = Transaction((spending,), paid)
    if satoshis < rule.size * outputs:
        raise InsufficientFundsError(rule.size * outputs - satoshis)
    complete = with_change(unsigned, _ANY_HASH160, rule.satoshis_per_kilobyte)
    change = complete.outputs[-1].satoshis if len(complete.outputs) > outputs else 0
    return complete.fee_satoshis, change
