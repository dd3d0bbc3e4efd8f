"""Batch trees against RFC 6962, written down here a second time as the RFC has it: by recursion."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.batch_tree import BatchPlace, BatchTree, InvalidPlaceError, leaf_hash, node_hash

# The reference inputs of Certificate Transparency, and its root over the first n of them.
CT_INPUTS = [
    bytes.fromhex(text)
    for text in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)

digests = st.binary(min_size=32, max_size=32)
batches = st.lists(digests, min_size=1, max_size=70, unique=True)


def numbered(count: int) -> list[bytes]:
    return [hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(count)]


def split_of(count: int) -> int:
    """The largest power of two below the count."""
    return 1 << (count - 1).bit_length() - 1


def mth(data: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = split_of(len(data))
    return hashlib.sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def audit_path(m: int, data: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(data) == 1:
        return []
    k = split_of(len(data))
    if m < k:
        return [*audit_path(m, data[:k]), mth(data[k:])]
    return [*audit_path(m - k, data[k:]), mth(data[:k])]


def leads_to(root: bytes, size: int, digest: bytes, place: BatchPlace) -> bool:
    """What a verifier believes: the root together with the number of leaves."""
    try:
        return place.size == size and place.root(digest) == root
    except InvalidPlaceError:
        return False


@pytest.mark.parametrize("count", range(1, 9))
def test_s21_roots_are_those_of_certificate_transparency(count: int) -> None:
    assert BatchTree.of(CT_INPUTS[:count]).root.hex() == CT_ROOTS[count - 1]


@pytest.mark.parametrize("count", [*range(1, 35), 63, 64, 65, 127, 500, 999, 1000])
def test_s21_trees_and_paths_are_those_of_the_rfc(count: int) -> None:
    data = numbered(count)
    tree = BatchTree.of(data)

    assert (tree.root, tree.size) == (mth(data), count)
    for index in {0, count // 3, count // 2, count - 1}:
        place = list(tree.places())[index]
        assert place == BatchPlace(index, count, b"".join(audit_path(index, data)))


@given(batches)
def test_s21_every_path_leads_to_the_root(data: list[bytes]) -> None:
    tree = BatchTree.of(data)

    for digest, place in zip(data, tree.places(), strict=True):
        assert place.root(digest) == tree.root


@given(batches, st.data())
def test_s21_no_other_leaf_index_size_or_path_does(data: list[bytes], draw: st.DataObject) -> None:
    tree = BatchTree.of(data)
    places = list(tree.places())
    index = draw.draw(st.integers(0, tree.size - 1))
    digest, place = data[index], places[index]
    other = draw.draw(digests.filter(lambda each: each != digest))
    elsewhere = draw.draw(st.integers(-1, tree.size + 1).filter(lambda each: each != index))
    size = draw.draw(st.integers(-1, 3 * tree.size).filter(lambda each: each != tree.size))

    assert leads_to(tree.root, tree.size, digest, place)
    for wrong in (
        replace(place, index=elsewhere),
        replace(place, size=size),
        replace(place, path=place.path + other),
        replace(place, path=place.path[:-1]),
        replace(place, path=place.path[:-32] + other),
    ):
        if wrong != place:
            assert not leads_to(tree.root, tree.size, digest, wrong)
    assert not leads_to(tree.root, tree.size, other, place)


@given(batches, st.data())
def test_s21_a_flipped_bit_is_noticed(data: list[bytes], draw: st.DataObject) -> None:
    assume(len(data) > 1)
    tree = BatchTree.of(data)
    index = draw.draw(st.integers(0, tree.size - 1))
    place = list(tree.places())[index]
    bit = draw.draw(st.integers(0, 8 * len(place.path) - 1))
    path = (int.from_bytes(place.path, "big") ^ 1 << bit).to_bytes(len(place.path), "big")

    assert not leads_to(tree.root, tree.size, data[index], replace(place, path=path))


@given(
    st.lists(st.sampled_from(numbered(3)), min_size=1, max_size=9),
    st.lists(st.sampled_from(numbered(3)), min_size=1, max_size=9),
)
def test_s21_no_two_lists_of_leaves_share_a_root(one: list[bytes], other: list[bytes]) -> None:
    """Few digests, so that repeated ones and odd tails meet often: there doubling fails."""
    assert (BatchTree.of(one).root == BatchTree.of(other).root) is (one == other)


def test_s21_an_odd_leaf_is_not_doubled() -> None:
    a, b, c = numbered(3)

    assert BatchTree.of([a, b, c]).root != BatchTree.of([a, b, c, c]).root


def test_s21_a_node_is_no_leaf() -> None:
    a, b = numbered(2)
    inner = leaf_hash(a) + leaf_hash(b)

    assert (
        BatchTree.of([inner]).root
        != BatchTree.of([a, b]).root
        == node_hash(leaf_hash(a), leaf_hash(b))
    )


def test_there_is_no_tree_without_leaves() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        BatchTree.of([])
