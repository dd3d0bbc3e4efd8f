"""Lots: a random number that every output gets for life, so that any stretch is a fair sample.

Whoever needs outputs reads a stretch as wide as should hold them, going by how dense the last one
was. What that costs depends on how many are wanted, never on how many there are.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

LOTS = 2**31
# An empty stretch says only that they are sparser than this; the next one is so much wider.
_WIDER_AFTER_NONE = 16.0
_WIDER = 4.0


def new_lot() -> int:
    """Draws the lot of a new output."""
    return random.randrange(LOTS)  # noqa: S311 - spreads, hides nothing


@dataclass(frozen=True)
class Stretch:
    """The lots from `first` up to `end`, which is not among them."""

    first: int
    end: int

    @classmethod
    def somewhere(cls, share: float) -> Stretch:
        """A stretch of so much of all lots (0 to 1), anywhere."""
        width = max(1, round(min(share, 1.0) * LOTS))
        first = random.randrange(LOTS - width + 1)  # noqa: S311 - spreads, hides nothing
        return cls(first, first + width)


@dataclass(frozen=True)
class Sample:
    """What a stretch of so much of all lots (0 to 1) held: the satoshis of each output."""

    share: float
    satoshis: Sequence[int]

    def estimate(self, at_least: int = 0) -> float:
        """About how many outputs there are that hold so many satoshis."""
        return sum(1 for each in self.satoshis if each >= at_least) / self.share

    def share_for(self, count: int) -> float:
        """How much of all lots should hold so many outputs; 1 or more stands for all of them."""
        if not self.satoshis:
            return self.share * _WIDER_AFTER_NONE
        return count / self.estimate()

    def wider_share_for(self, count: int) -> float:
        """The same after too few: wider in any case, so that it comes to an end."""
        return max(self.share_for(count), self.share * _WIDER)
