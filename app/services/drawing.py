"""Draws spendable outputs by their lots, at the same cost in a small pool and in a large one."""

from __future__ import annotations

from collections.abc import Sequence

from app import extensions
from app.domain.lots import Sample, Stretch
from app.models.utxo import Utxo

# Who knows nothing of a pool supposes so many outputs: reading too little costs less than all.
_SUPPOSED = 1_000_000
# A pool that has grown since the last draw answers more than was expected, but not without end.
_MOST_TIMES = 4

# What the last draw of this process saw of each pool.
_samples: dict[tuple[str, str], Sample] = {}


def draw(key_identifier: str, count: int) -> list[Utxo]:
    """Answers about `count` spendable outputs, any of them; none where there are hardly so many.

    Then they can all be read as well (`remember_all`).
    """
    pool = _pool(key_identifier)
    known = _samples.get(pool)
    share = count / _SUPPOSED if known is None else known.share_for(count)
    while share < 1:
        stretch = Stretch.somewhere(share)
        found = Utxo.list_stretch(key_identifier, stretch, limit=_MOST_TIMES * count)
        sample = _samples[pool] = _sample(share, found)
        # Chance alone does not take away half.
        if 2 * len(found) >= count:
            return found
        share = sample.wider_share_for(count)
    return []


def remember_all(key_identifier: str, found: Sequence[Utxo], limit: int) -> None:
    """Notes what reading all outputs up to a limit has answered, for the next draw."""
    pool = _pool(key_identifier)
    if len(found) < limit:
        _samples[pool] = _sample(1.0, found)
    else:
        # There are more, nobody knows how many.
        _samples.pop(pool, None)


def estimate(key_identifier: str, *, at_least: int) -> float:
    """About how many spendable outputs hold so many satoshis, as last drawn; asks nobody."""
    sample = _samples.get(_pool(key_identifier))
    return 0.0 if sample is None else sample.estimate(at_least)


def _sample(share: float, found: Sequence[Utxo]) -> Sample:
    return Sample(share, [coin.satoshis for coin in found])


def _pool(key_identifier: str) -> tuple[str, str]:
    return extensions.get().settings.db_name, key_identifier
