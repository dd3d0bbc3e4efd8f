"""Merkle trees of blocks and the paths that prove a transaction in one (BRC-74)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.bitcoin.errors import InvalidMerklePathError
from app.bitcoin.hashes import double_sha256, hash_from_txid, is_txid, txid_from_hash
from app.bitcoin.serialization import ByteReader, bytes_from_hex, pack_varint

_PLAIN, _DUPLICATE, _TXID = 0, 1, 2
_HIGHEST_TREE = 64
_HIGHEST_BLOCK = 0xFFFFFFFF
_MINIMAL_LEAF_SIZE, _MINIMAL_LEVEL_SIZE = 2, 1


def _hash_of(txid: object) -> bytes:
    if not isinstance(txid, str) or not is_txid(txid):
        raise InvalidMerklePathError("A hash of the merkle path is not 64 lower-case hex.")
    return hash_from_txid(txid)


def _parents(hashes: list[bytes]) -> list[bytes]:
    if len(hashes) % 2:
        hashes = [*hashes, hashes[-1]]
    return [double_sha256(hashes[i] + hashes[i + 1]) for i in range(0, len(hashes), 2)]


def merkle_root(txids: Sequence[str]) -> str:
    """Return the display-order root of a block's txids, the coinbase first."""
    hashes = [_hash_of(txid) for txid in txids]
    if not hashes:
        raise InvalidMerklePathError("A block has at least one transaction.")
    while len(hashes) > 1:
        hashes = _parents(hashes)
    return txid_from_hash(hashes[0])


def merkle_branch(txids: Sequence[str], tx_index: int) -> list[str | None]:
    """Return the siblings, leaf to root, of the transaction at `tx_index`.

    None stands for a sibling that doubles the node beside it.
    """
    if not 0 <= tx_index < len(txids):
        raise InvalidMerklePathError(f"The block has no transaction {tx_index}.")
    hashes = [_hash_of(txid) for txid in txids]
    branch: list[str | None] = []
    while len(hashes) > 1:
        sibling = tx_index ^ 1
        branch.append(txid_from_hash(hashes[sibling]) if sibling < len(hashes) else None)
        hashes, tx_index = _parents(hashes), tx_index >> 1
    return branch


@dataclass(frozen=True)
class PathLeaf:
    """A node of a level: its offset, its hash in internal order (None doubles its neighbour)."""

    offset: int
    node_hash: bytes | None
    is_txid: bool = False

    @classmethod
    def read(cls, reader: ByteReader) -> "PathLeaf":
        """Read one leaf from a stream."""
        offset, flag = reader.read_varint(), reader.read_uint(1)
        if flag not in (_PLAIN, _DUPLICATE, _TXID):
            raise InvalidMerklePathError("The merkle path has an unknown flag.")
        node_hash = None if flag == _DUPLICATE else reader.read(32)
        return cls(offset, node_hash, flag == _TXID)

    def to_bytes(self) -> bytes:
        """Return the BRC-74 bytes."""
        flag = _DUPLICATE if self.node_hash is None else _TXID if self.is_txid else _PLAIN
        return pack_varint(self.offset) + bytes([flag]) + (self.node_hash or b"")


_Level = dict[int, bytes | None]


@dataclass(frozen=True)
class MerklePath:
    """A path, or several that share nodes, from transactions of one block to its root.

    Checked when made: every node has its sibling and all of them lead to one root. Whether the
    root is that of a block with work behind it is the caller's question.
    """

    block_height: int
    levels: tuple[tuple[PathLeaf, ...], ...]
    _nodes: tuple[_Level, ...] = field(init=False, repr=False, compare=False)
    _root: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_shape(self.block_height, self.levels)
        nodes, root = _fold(self.levels)
        object.__setattr__(self, "_nodes", nodes)
        object.__setattr__(self, "_root", root)

    @classmethod
    def from_bytes(cls, raw: bytes) -> "MerklePath":
        """Read the binary form of BRC-74, with nothing left over."""
        reader = ByteReader(raw, InvalidMerklePathError, "The merkle path")
        block_height, tree_height = reader.read_varint(), reader.read_uint(1)
        if tree_height * _MINIMAL_LEVEL_SIZE > reader.remaining:
            raise InvalidMerklePathError("The merkle path ends too early.")
        levels = tuple(
            tuple(PathLeaf.read(reader) for _ in range(reader.read_count(_MINIMAL_LEAF_SIZE)))
            for _ in range(tree_height)
        )
        reader.expect_end()
        return cls(block_height, levels)

    @classmethod
    def from_hex(cls, text: str) -> "MerklePath":
        """Read the hex of the binary form of BRC-74."""
        return cls.from_bytes(bytes_from_hex(text, InvalidMerklePathError, "The merkle path"))

    @classmethod
    def from_branch(
        cls, block_height: int, txid: str, tx_index: int, branch: Sequence[str | None]
    ) -> "MerklePath":
        """Make the path of one transaction from its siblings, leaf to root, None for a double."""
        is_small = isinstance(tx_index, int) and len(branch) <= _HIGHEST_TREE
        if not is_small or not 0 <= tx_index < 1 << len(branch):
            raise InvalidMerklePathError("The transaction's index does not fit its merkle path.")
        own = PathLeaf(tx_index, _hash_of(txid), is_txid=True)
        siblings = [
            PathLeaf((tx_index >> level) ^ 1, None if node is None else _hash_of(node))
            for level, node in enumerate(branch)
        ]
        if not siblings:
            return cls(block_height, ((own,),))
        first = tuple(sorted((own, siblings[0]), key=lambda leaf: leaf.offset))
        return cls(block_height, (first, *((leaf,) for leaf in siblings[1:])))

    @classmethod
    def from_tsc(
        cls, block_height: int, txid: str, index: int, nodes: Sequence[str]
    ) -> "MerklePath":
        """Make the path from `index` and `nodes` of a TSC proof, where "*" is a double."""
        branch = [None if node == "*" else node for node in nodes]
        return cls.from_branch(block_height, txid, index, branch)

    def to_bytes(self) -> bytes:
        """Return the binary form of BRC-74."""
        parts = [pack_varint(self.block_height), bytes([len(self.levels)])]
        for level in self.levels:
            parts.append(pack_varint(len(level)))
            parts.extend(leaf.to_bytes() for leaf in level)
        return b"".join(parts)

    def to_hex(self) -> str:
        """Return the hex of the binary form of BRC-74."""
        return self.to_bytes().hex()

    @property
    def txids(self) -> list[str]:
        """Display-order txids that the path marks as the client's."""
        return [
            txid_from_hash(leaf.node_hash)
            for leaf in self.levels[0]
            if leaf.is_txid and leaf.node_hash is not None
        ]

    def tx_index(self, txid: str) -> int:
        """Return the position in the block of a transaction that the path holds."""
        wanted = _hash_of(txid)
        for leaf in self.levels[0]:
            if leaf.node_hash == wanted:
                return leaf.offset
        raise InvalidMerklePathError("The merkle path does not hold the transaction.")

    def root(self, txid: str) -> str:
        """Return the display-order root that the path leads to from this transaction."""
        self.tx_index(txid)
        return txid_from_hash(self._root)

    def branch(self, txid: str) -> list[str | None]:
        """Return the siblings of a transaction, leaf to root, None for a double."""
        tx_index = self.tx_index(txid)
        siblings = [nodes[(tx_index >> level) ^ 1] for level, nodes in enumerate(self._nodes)]
        return [None if node is None else txid_from_hash(node) for node in siblings]


def _check_shape(block_height: int, levels: tuple[tuple[PathLeaf, ...], ...]) -> None:
    if not isinstance(block_height, int) or not 0 <= block_height <= _HIGHEST_BLOCK:
        raise InvalidMerklePathError("The merkle path's block height is out of range.")
    if not 1 <= len(levels) <= _HIGHEST_TREE:
        raise InvalidMerklePathError("The merkle path's tree height is out of range.")
    for height, level in enumerate(levels):
        offsets = {leaf.offset for leaf in level}
        if len(offsets) != len(level):
            raise InvalidMerklePathError("The merkle path names a node twice.")
        if any(not 0 <= offset < 1 << (len(levels) - height) for offset in offsets):
            raise InvalidMerklePathError("The merkle path names a node outside of its tree.")
        if height and any(leaf.is_txid for leaf in level):
            raise InvalidMerklePathError("The merkle path has a transaction above its leaves.")


def _fold(levels: tuple[tuple[PathLeaf, ...], ...]) -> tuple[tuple[_Level, ...], bytes]:
    """Return the nodes of each level, the computed ones too, and the root.

    The work is linear in the number of leaves: each level has half the nodes of the one below.
    """
    lone = levels[0][0] if len(levels) == 1 and len(levels[0]) == 1 else None
    if lone and lone.offset == 0 and lone.node_hash is not None:
        return (), lone.node_hash
    proven: dict[int, bytes] = {}
    folded: list[_Level] = []
    for level in levels:
        nodes: _Level = {**proven}
        for leaf in level:
            if nodes.setdefault(leaf.offset, leaf.node_hash) != leaf.node_hash:
                raise InvalidMerklePathError("The merkle path contradicts itself.")
        own = set(proven) | {leaf.offset for leaf in level if leaf.is_txid}
        folded.append(nodes)
        left_offsets = {offset & ~1 for offset in nodes}
        proven = {left >> 1: _join(nodes, left, own) for left in left_offsets}
    if set(proven) != {0}:
        raise InvalidMerklePathError("The merkle path leads to no root.")
    return tuple(folded), proven[0]


def _join(nodes: _Level, left_offset: int, own: set[int]) -> bytes:
    """Return the parent of a pair of nodes; `own` are the offsets that the path is to prove."""
    if left_offset not in nodes or left_offset + 1 not in nodes:
        raise InvalidMerklePathError("The merkle path lacks a node.")
    left, right = nodes[left_offset], nodes[left_offset + 1]
    if left is None:
        raise InvalidMerklePathError("The merkle path doubles a node on the wrong side.")
    if left == right and left_offset + 1 in own:
        # A double stands for no transaction; to prove one there is CVE-2012-2459 at work.
        raise InvalidMerklePathError("The merkle path proves a node that is only a double.")
    return double_sha256(left + (left if right is None else right))
