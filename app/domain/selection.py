"""Which outputs pay for which transaction. Pure: it plans, locking decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from app.bitcoin.transactions import TxOutput
from app.domain.fees import P2PKH_INPUT_SIZE, fee_for_size

_CHANGE_SIZE = 8 + 1 + 25
# Version, locktime and both counts at their widest in practice.
_FRAME_SIZE = 4 + 4 + 3 + 3


class Coin(Protocol):
    """What selection sees of an unspent output."""

    outpoint: str
    satoshis: int


CoinT = TypeVar("CoinT", bound=Coin)


@dataclass(frozen=True)
class Need:
    """What one transaction must pay: its own outputs and the fee for its size."""

    outputs: tuple[TxOutput, ...]
    satoshis_per_kilobyte: int

    def satoshis_with(self, input_count: int) -> int:
        """Satoshis that so many inputs must hold together, with a change output to pay for."""
        size = (
            _FRAME_SIZE
            + sum(len(output.to_bytes()) for output in self.outputs)
            + _CHANGE_SIZE
            + input_count * P2PKH_INPUT_SIZE
        )
        paid = sum(output.satoshis for output in self.outputs)
        return paid + fee_for_size(size, self.satoshis_per_kilobyte)


def assign(coins: Sequence[CoinT], needs: Sequence[Need]) -> list[list[CoinT]]:
    """Gives each need coins of its own, in order; an empty list where they don't suffice.

    Each takes the first coin that pays for it alone; only without one does it gather several.
    """
    left = list(coins)
    return [_take(left, need) for need in needs]


def _take(left: list[CoinT], need: Need) -> list[CoinT]:
    alone = need.satoshis_with(1)
    for index, coin in enumerate(left):
        if coin.satoshis >= alone:
            return [left.pop(index)]
    return _gather(left, need)


def _gather(left: list[CoinT], need: Need) -> list[CoinT]:
    chosen: list[CoinT] = []
    total = 0
    for coin in sorted(left, key=lambda coin: -coin.satoshis):
        chosen.append(coin)
        total += coin.satoshis
        if total >= need.satoshis_with(len(chosen)):
            taken = {coin.outpoint for coin in chosen}
            left[:] = [coin for coin in left if coin.outpoint not in taken]
            return chosen
    return []
