import json
from itertools import pairwise
from pathlib import Path

import bitcoinx
import pytest
from bsv.merkle_path import MerklePath as SdkMerklePath
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.errors import InvalidMerklePathError
from app.bitcoin.hashes import double_sha256, hash_from_txid, txid_from_hash
from app.bitcoin.merkle import MerklePath, PathLeaf, merkle_branch, merkle_root

BRC74 = json.loads((Path(__file__).parents[2] / "vectors" / "brc74.json").read_text())

txids = st.binary(min_size=32, max_size=32).map(bytes.hex)
blocks = st.lists(txids, min_size=1, max_size=50, unique=True)


def block_of(size: int) -> list[str]:
    return [txid_from_hash(double_sha256(bytes([number]))) for number in range(size)]


def path_of(size: int, tx_index: int) -> MerklePath:
    block = block_of(size)
    return MerklePath.from_branch(7, block[tx_index], tx_index, merkle_branch(block, tx_index))


def compound_path(block: list[str], indexes: set[int]) -> MerklePath:
    """Join the paths of several transactions and leave out what can be computed."""
    levels: list[tuple[PathLeaf, ...]] = []
    hashes, proven = [hash_from_txid(txid) for txid in block], set(indexes)
    while len(hashes) > 1:
        needed = {offset ^ 1 for offset in proven} - proven
        shown = needed | (proven if not levels else set())
        leaves = [
            PathLeaf(n, hashes[n] if n < len(hashes) else None, not levels and n in indexes)
            for n in sorted(shown)
        ]
        levels.append(tuple(leaves))
        hashes += hashes[-1:] * (len(hashes) % 2)
        hashes = [double_sha256(a + b) for a, b in list(pairwise(hashes))[::2]]
        proven = {offset >> 1 for offset in proven}
    return MerklePath(7, tuple(levels))


def refused(hex_text: str) -> str:
    with pytest.raises(InvalidMerklePathError) as caught:
        MerklePath.from_hex(hex_text)
    return str(caught.value)


def test_the_path_of_brc_74_leads_to_its_root() -> None:
    path = MerklePath.from_hex(BRC74["hex"])
    assert path.to_hex() == BRC74["hex"]
    assert path.block_height == BRC74["block_height"]
    assert len(path.levels) == BRC74["tree_height"]
    assert [path.tx_index(txid) for txid in path.txids] == BRC74["tx_offsets"]
    for txid in path.txids:
        assert path.root(txid) == BRC74["merkle_root"]


@given(blocks)
def test_root_is_that_of_another_library(block: list[str]) -> None:
    hashes = [hash_from_txid(txid) for txid in block]
    assert merkle_root(block) == bitcoinx.hash_to_hex_str(bitcoinx.merkle_root(hashes))


@given(blocks, st.data())
def test_every_branch_leads_to_the_root_and_round_trips(
    block: list[str], data: st.DataObject
) -> None:
    tx_index = data.draw(st.integers(0, len(block) - 1))
    txid, branch = block[tx_index], merkle_branch(block, tx_index)
    path = MerklePath.from_branch(800_000, txid, tx_index, branch)
    assert path.root(txid) == merkle_root(block)
    assert path.branch(txid) == branch
    assert (path.tx_index(txid), path.txids) == (tx_index, [txid])
    assert MerklePath.from_bytes(path.to_bytes()) == path
    nodes = ["*" if node is None else node for node in branch]
    assert MerklePath.from_tsc(800_000, txid, tx_index, nodes) == path


@pytest.mark.parametrize("size", range(2, 51))  # it knows no block of one transaction
def test_another_library_reads_the_same_path(size: int) -> None:
    block = block_of(size)
    for tx_index in range(size):
        path = path_of(size, tx_index)
        other = SdkMerklePath.from_hex(path.to_hex())
        assert other.compute_root(block[tx_index]) == merkle_root(block)
        assert other.to_hex() == path.to_hex()


@given(st.integers(2, 50), st.data())
def test_a_path_of_several_transactions_leads_to_one_root(size: int, data: st.DataObject) -> None:
    block = block_of(size)
    indexes = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
    path = compound_path(block, indexes)
    assert path.txids == [block[n] for n in sorted(indexes)]
    for n in indexes:
        assert path.root(block[n]) == merkle_root(block)
        assert path.branch(block[n]) == merkle_branch(block, n)
    assert MerklePath.from_bytes(path.to_bytes()) == path


def test_known_genesis_block_of_one_transaction() -> None:
    coinbase = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
    path = MerklePath.from_branch(0, coinbase, 0, [])
    assert path.root(coinbase) == merkle_root([coinbase]) == coinbase
    assert path.branch(coinbase) == merkle_branch([coinbase], 0) == []
    assert MerklePath.from_hex(path.to_hex()) == path


@given(st.integers(1, 50), st.data())
def test_one_wrong_byte_never_leads_to_the_same_root(size: int, data: st.DataObject) -> None:
    tx_index = data.draw(st.integers(0, size - 1))
    path, txid = path_of(size, tx_index), block_of(size)[tx_index]
    raw = bytearray(path.to_bytes())
    raw[data.draw(st.integers(1, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        changed = MerklePath.from_bytes(bytes(raw))
        root = changed.root(txid)
    except InvalidMerklePathError:
        return
    is_same_claim = changed.tx_index(txid) == tx_index and changed.branch(txid) == path.branch(txid)
    assert is_same_claim or root != path.root(txid)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_path_or_an_error(raw: bytes) -> None:
    try:
        path = MerklePath.from_bytes(raw)
    except InvalidMerklePathError:
        return
    assert path.to_bytes() == raw


@given(st.text(max_size=100))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidMerklePathError):
        MerklePath.from_hex(text)


@given(st.integers(1, 50), st.data())
def test_a_cut_or_a_longer_path_is_refused(size: int, data: st.DataObject) -> None:
    raw = path_of(size, size - 1).to_bytes()
    refused(raw[: data.draw(st.integers(0, len(raw) - 1))].hex())
    assert "too many" in refused((raw + b"\0").hex())


LEAF = "11" * 32


@pytest.mark.parametrize(
    ("hex_text", "words"),
    [
        ("fd0000", "minimally"),
        ("0700", "tree height"),
        ("0741" + "00" * 65, "tree height"),
        ("07ff" + "00" * 20, "ends too early"),
        ("ff00000000010000000101" + "0002" + LEAF, "block height"),
        ("0701" + "ffffffffffffffffff", "ends too early"),
        ("0701" + "fdffff" + "0002" + LEAF, "ends too early"),
        ("0701" + "00", "no root"),
        ("0701" + "01" + "0003" + LEAF, "unknown flag"),
        ("0701" + "01" + "0102" + LEAF, "lacks a node"),
        ("0701" + "01" + "0001", "lacks a node"),
        ("0701" + "02" + "0002" + LEAF + "0002" + LEAF, "twice"),
        ("0701" + "02" + "0002" + LEAF + "0200" + LEAF, "outside of its tree"),
        ("0701" + "02" + "0001" + "0102" + LEAF, "wrong side"),
        ("0702" + "02" + "0002" + LEAF + "0101" + "00", "lacks a node"),
        ("0702" + "02" + "0002" + LEAF + "0101" + "01" + "0102" + LEAF, "above its leaves"),
        ("0702" + "02" + "0002" + LEAF + "0101" + "02" + "0000" + LEAF + "0101", "contradicts"),
        ("0702" + "00" + "02" + "0000" + LEAF + "0101", None),
    ],
)  # fmt: skip
def test_hostile_paths_are_refused(hex_text: str, words: str | None) -> None:
    if words is None:
        with pytest.raises(InvalidMerklePathError, match="does not hold"):
            MerklePath.from_hex(hex_text).root(LEAF)
    else:
        assert words in refused(hex_text)


def test_a_path_that_proves_a_mere_double_is_refused() -> None:
    block = block_of(3)
    honest = merkle_branch(block, 2)
    assert honest[0] is None
    forged = [block[2], honest[1]]
    with pytest.raises(InvalidMerklePathError, match="only a double"):
        MerklePath.from_branch(7, block[2], 3, forged)


def test_a_double_written_out_beside_its_original_is_read() -> None:
    block = block_of(3)
    path = MerklePath.from_branch(7, block[2], 2, [block[2], merkle_branch(block, 2)[1]])
    assert path.root(block[2]) == merkle_root(block)
    assert path.tx_index(block[2]) == 2


@pytest.mark.parametrize(
    ("txid", "tx_index", "branch"),
    [
        ("aa", 0, []),
        ("AA" * 32, 0, []),
        ("aa" * 32, 1, []),
        ("aa" * 32, -1, ["bb" * 32]),
        ("aa" * 32, 2, ["bb" * 32]),
        ("aa" * 32, 0, ["bb" * 31]),
        ("aa" * 32, 0, [5]),
        ("aa" * 32, 1, [None]),
        ("aa" * 32, 0, ["bb" * 32] * 65),
        ("aa" * 32, "0", []),
        ("aa" * 32, None, ["bb" * 32]),
        (None, 0, []),
    ],
)
def test_a_hostile_branch_is_refused(txid: str, tx_index: int, branch: list[str | None]) -> None:
    with pytest.raises(InvalidMerklePathError):
        MerklePath.from_branch(7, txid, tx_index, branch)


@pytest.mark.parametrize("block_height", [-1, 2**32, "7", None])
def test_a_block_height_that_cannot_be_is_refused(block_height: int) -> None:
    with pytest.raises(InvalidMerklePathError, match="block height"):
        MerklePath.from_tsc(block_height, "aa" * 32, 0, [])


def test_a_transaction_that_the_path_does_not_hold_has_no_root() -> None:
    path = path_of(5, 2)
    for ask in (path.root, path.branch, path.tx_index):
        with pytest.raises(InvalidMerklePathError, match="does not hold"):
            ask("ab" * 32)


def test_an_empty_block_has_no_root_and_no_branch() -> None:
    with pytest.raises(InvalidMerklePathError):
        merkle_root([])
    for tx_index in (-1, 0, 1):
        with pytest.raises(InvalidMerklePathError):
            merkle_branch([], tx_index)
