"""Locks outputs for transactions: many in a few rounds, never one for two."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from bson import ObjectId

from app import extensions
from app.domain.clock import utc_now
from app.domain.selection import Need, assign
from app.models.utxo import Utxo
from app.services import drawing

# Others may take the same candidates at the same moment; each round somebody wins.
_ROUNDS = 20
_SPREAD = 32


def lock(needs: Mapping[ObjectId, Need], *, key_identifier: str) -> dict[ObjectId, list[Utxo]]:
    """Locks outputs under each lock id; answers those that could be paid for, with their outputs.

    A round is a draw and an update whatever the number of transactions, and two queries more where
    the draw does not suffice or others were faster. Whoever is missing in the answer found nothing
    left that pays for it.
    """
    locked: dict[ObjectId, list[Utxo]] = {}
    for _ in range(_ROUNDS):
        missing = [lock_id for lock_id in needs if lock_id not in locked]
        if not missing:
            break
        plan = _plan(missing, needs, key_identifier)
        if not plan:
            break
        locked.update(_try_lock(plan))
    return locked


def _plan(
    missing: Sequence[ObjectId], needs: Mapping[ObjectId, Need], key_identifier: str
) -> dict[ObjectId, list[Utxo]]:
    wanted = [needs[lock_id] for lock_id in missing]
    count = 2 * len(wanted) + _SPREAD
    drawn = drawing.draw(key_identifier, count)
    chosen = assign(_in_order(drawn, len(wanted) + _SPREAD // 2), wanted)
    if any(len(coins) != 1 for coins in chosen):
        # The draw has no coin for each that pays for it alone; the whole pool may.
        best = _list_best(key_identifier, count, wanted)
        if not drawn:
            drawing.remember_all(key_identifier, best, count)
        chosen = assign(_in_order(best, count), wanted)
    return {lock_id: coins for lock_id, coins in zip(missing, chosen, strict=True) if coins}


def _list_best(key_identifier: str, limit: int, wanted: Sequence[Need]) -> list[Utxo]:
    """The best of all, by the index on satoshis: at once where the server stops at a limit."""
    covering = min(need.satoshis_with(1) for need in wanted) if _is_best_fit() else None
    return Utxo.list_available(key_identifier, limit=limit, covering=covering)


def _in_order(coins: Sequence[Utxo], count: int) -> list[Utxo]:
    """Coins in the order in which they are taken: the least that suffices, or of the largest."""
    if _is_best_fit():
        return sorted(coins, key=lambda coin: coin.satoshis)
    largest = sorted(coins, key=lambda coin: -coin.satoshis)[:count]
    # Workers that ask at once may see the same coins: each starts somewhere else among them.
    random.shuffle(largest)
    return largest


def _try_lock(plan: Mapping[ObjectId, Sequence[Utxo]]) -> dict[ObjectId, list[Utxo]]:
    wanted = {coin.outpoint: lock_id for lock_id, coins in plan.items() for coin in coins}
    won = Utxo.lock_each(wanted, utc_now())
    complete = {
        lock_id: list(coins)
        for lock_id, coins in plan.items()
        if all(won.get(coin.outpoint) == lock_id for coin in coins)
    }
    partial = [lock_id for lock_id in set(won.values()) if lock_id not in complete]
    if partial:
        Utxo.release_unheld(partial)
    return complete


def _is_best_fit() -> bool:
    return extensions.get().settings.pool_selection == "best_fit"
