"""Batch trees (RFC 6962, section 2.1): many records under one root, each with a path to it.

A leaf is sha256(0x00 || digest), a node sha256(0x01 || left || right), and an odd node goes up as
it is. So no leaf can be taken for a node, and no two lists of digests share a root. A path alone
does not say how many leaves there are: the root is believed only together with their number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_HASH_BYTES = 32


class InvalidPlaceError(ValueError):
    """There is no such place in a tree of this size, or its path is not as long as it has to be."""


@dataclass(frozen=True)
class BatchPlace:
    """Where a record stands in a tree of `size` leaves; `index` counts from 0.

    `path` joins the siblings from the leaf to the root, 32 bytes each.
    """

    index: int
    size: int
    path: bytes

    @property
    def siblings(self) -> list[bytes]:
        """The siblings from the leaf to the root; of a broken path the last may be short."""
        starts = range(0, len(self.path), _HASH_BYTES)
        return [self.path[start : start + _HASH_BYTES] for start in starts]

    def root(self, digest: bytes) -> bytes:
        """Return the root that this digest leads to from this place.

        Raises:
            InvalidPlaceError: the place can't be in a tree of this size.
        """
        if not 0 <= self.index < self.size or len(self.path) % _HASH_BYTES:
            raise InvalidPlaceError("The place is not one of a batch tree.")
        siblings = iter(self.siblings)
        node, index, last = leaf_hash(digest), self.index, self.size - 1
        try:
            while last:
                if index % 2:
                    node = node_hash(next(siblings), node)
                elif index < last:
                    node = node_hash(node, next(siblings))
                # Else it is the odd one of its level and goes up as it is.
                index, last = index // 2, last // 2
        except StopIteration:
            raise InvalidPlaceError("The path is too short for its place.") from None
        if next(siblings, None) is not None:
            raise InvalidPlaceError("The path is too long for its place.")
        return node


@dataclass(frozen=True)
class BatchTree:
    """A tree, level by level from the leaves to the root."""

    levels: tuple[tuple[bytes, ...], ...]

    @classmethod
    def of(cls, digests: Sequence[bytes]) -> BatchTree:
        """Build the tree over digests in their order; there is at least one."""
        if not digests:
            raise ValueError("A batch tree has at least one leaf.")
        levels = [tuple(leaf_hash(digest) for digest in digests)]
        while len(levels[-1]) > 1:
            levels.append(_level_above(levels[-1]))
        return cls(tuple(levels))

    @property
    def root(self) -> bytes:
        return self.levels[-1][0]

    @property
    def size(self) -> int:
        return len(self.levels[0])

    def places(self) -> Iterator[BatchPlace]:
        """Yield the place of each digest, in their order."""
        for index in range(self.size):
            yield BatchPlace(index, self.size, b"".join(self._siblings(index)))

    def _siblings(self, index: int) -> Iterator[bytes]:
        for level in self.levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                yield level[sibling]
            index //= 2


def leaf_hash(digest: bytes) -> bytes:
    """Return the leaf of a record's digest."""
    return hashlib.sha256(b"\x00" + digest).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the node above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _level_above(level: Sequence[bytes]) -> tuple[bytes, ...]:
    above = [node_hash(*level[start : start + 2]) for start in range(0, len(level) - 1, 2)]
    return (*above, level[-1]) if len(level) % 2 else tuple(above)
