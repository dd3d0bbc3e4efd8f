"""How to gather many outputs into few. Pure: it plans, locking decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.bitcoin.scripts import p2pkh_locking_script
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.domain.fees import required_fee, spending_cost
from app.domain.selection import Coin

_ANY_SCRIPT = p2pkh_locking_script(bytes(20))


@dataclass(frozen=True)
class SweepRound:
    """One transaction: everything that these outputs hold, less the fee, into one output."""

    outpoints: tuple[str, ...]
    satoshis: int
    fee_satoshis: int

    @property
    def swept_satoshis(self) -> int:
        return self.satoshis - self.fee_satoshis


def plan_sweep(
    coins: Sequence[Coin], *, satoshis_per_kilobyte: int, max_inputs: int, min_inputs: int = 1
) -> list[SweepRound]:
    """Plans rounds of at most `max_inputs` outputs each, and none of fewer than `min_inputs`.

    An output that holds less than its own input costs stays where it is, and so does a chunk that
    would leave less than it costs to spend what it makes.
    """
    floor = spending_cost(satoshis_per_kilobyte)
    worth = [coin for coin in coins if coin.satoshis > floor]
    chunks = [worth[start : start + max_inputs] for start in range(0, len(worth), max_inputs)]
    rounds = [_round(chunk, satoshis_per_kilobyte) for chunk in chunks if len(chunk) >= min_inputs]
    return [each for each in rounds if each.swept_satoshis > floor]


def _round(chunk: Sequence[Coin], satoshis_per_kilobyte: int) -> SweepRound:
    """Prices a chunk exactly as signing does."""
    inputs = tuple(
        TxInput(Outpoint.from_text(coin.outpoint), TxOutput(coin.satoshis, _ANY_SCRIPT))
        for coin in chunk
    )
    total = sum(coin.satoshis for coin in chunk)
    unsigned = Transaction(inputs, (TxOutput(total, _ANY_SCRIPT),))
    fee = required_fee(unsigned, satoshis_per_kilobyte)
    return SweepRound(tuple(coin.outpoint for coin in chunk), total, fee)
