"""Locks outputs for transactions: many in a few rounds, never one for two."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from bson import ObjectId

from app import extensions
from app.domain.clock import utc_now
from app.domain.selection import Need, assign
from app.models.utxo import Utxo

# Others may take the same candidates at the same moment; each round somebody wins.
_ROUNDS = 20
_SPREAD = 32


def lock(needs: Mapping[ObjectId, Need], *, key_identifier: str) -> dict[ObjectId, list[Utxo]]:
    """Locks outputs under each lock id; answers those that could be paid for, with their outputs.

    A round is three queries whatever the number of transactions. Whoever is missing in the answer
    found nothing left that pays for it.
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
    candidates = Utxo.list_available(
        key_identifier,
        limit=2 * len(missing) + _SPREAD,
        covering=min(need.satoshis_with(1) for need in wanted) if _is_best_fit() else None,
    )
    if not _is_best_fit():
        # Workers that ask at once see the same list: each starts somewhere else in it.
        random.shuffle(candidates)
    chosen = assign(candidates, wanted)
    return {lock_id: coins for lock_id, coins in zip(missing, chosen, strict=True) if coins}


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
