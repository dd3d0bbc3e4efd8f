import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.hashes import (
    double_sha256,
    hash160,
    hash_from_txid,
    is_txid,
    sha256,
    txid_from_hash,
)


def test_hashes_of_nothing_are_the_published_ones() -> None:
    assert sha256(b"").hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (
        double_sha256(b"").hex()
        == "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456"
    )
    assert hash160(b"").hex() == "b472a266d0bd89c13706a4132ccfb16f7c3b9fcb"


@given(st.binary(min_size=32, max_size=32))
def test_a_txid_is_the_reversed_hash(tx_hash: bytes) -> None:
    txid = txid_from_hash(tx_hash)
    assert bytes.fromhex(txid) == bytes(reversed(tx_hash))
    assert hash_from_txid(txid) == tx_hash


@pytest.mark.parametrize(
    "text", ["", "AA" * 32, "aa" * 31, "aa" * 33, " " + "a" * 63, "aa" * 31 + "a\n"]
)
def test_other_text_is_no_txid(text: str) -> None:
    assert not is_txid(text)
    with pytest.raises(BitcoinFormatError):
        hash_from_txid(text)


def test_a_hash_of_another_length_has_no_txid() -> None:
    with pytest.raises(BitcoinFormatError):
        txid_from_hash(bytes(31))
