from dataclasses import replace

import bitcoinx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.addresses import Network
from app.bitcoin.errors import InvalidHeaderError
from app.bitcoin.headers import GENESIS_REGTEST, POW_LIMIT_BITS, BlockHeader, target_of, work

GENESIS_MAIN = (
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e"
    "67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)
MAIN_LIMIT = POW_LIMIT_BITS[Network.MAIN]
REGTEST_LIMIT = POW_LIMIT_BITS[Network.REGTEST]


def test_genesis_of_main_is_the_known_one() -> None:
    header = BlockHeader.from_hex(GENESIS_MAIN)
    assert header.block_hash == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    assert (header.version, header.timestamp, header.bits) == (1, 1231006505, 0x1D00FFFF)
    assert header.previous_block_hash == "00" * 32
    assert header.merkle_root == GENESIS_REGTEST.merkle_root
    assert header.has_proof_of_work(MAIN_LIMIT)
    assert header.to_hex() == GENESIS_MAIN


def test_genesis_of_regtest_is_the_known_one() -> None:
    assert (
        GENESIS_REGTEST.block_hash
        == "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    )
    assert GENESIS_REGTEST.has_proof_of_work(REGTEST_LIMIT)


@given(st.binary(min_size=80, max_size=80))
def test_any_80_bytes_round_trip(raw: bytes) -> None:
    header = BlockHeader.from_bytes(raw)
    assert header.to_bytes() == raw
    assert BlockHeader.from_hex(header.to_hex()) == header
    assert isinstance(header.has_proof_of_work(REGTEST_LIMIT), bool)


@given(st.binary(max_size=200))
def test_other_lengths_are_refused(raw: bytes) -> None:
    if len(raw) != 80:
        with pytest.raises(InvalidHeaderError):
            BlockHeader.from_bytes(raw)


@given(st.text(max_size=170))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidHeaderError):
        BlockHeader.from_hex(text)


def test_a_header_without_its_work_is_told_apart() -> None:
    header = BlockHeader.from_hex(GENESIS_MAIN)
    assert not replace(header, nonce=header.nonce + 1).has_proof_of_work(MAIN_LIMIT)


def test_a_target_easier_than_the_networks_limit_proves_nothing() -> None:
    assert not GENESIS_REGTEST.has_proof_of_work(MAIN_LIMIT)


@pytest.mark.parametrize(
    "bits", [0, 0x00FFFFFF, 0x01000000, 0x1D800001, 0xFF7FFFFF, 0x2200FFFF + 1]
)
def test_bits_that_allow_nothing_have_no_target_and_no_work(bits: int) -> None:
    header = replace(GENESIS_REGTEST, bits=bits)
    assert header.target == target_of(bits) == 0
    assert work(bits) == 0
    assert not header.has_proof_of_work(REGTEST_LIMIT)


@given(st.integers(3, 32), st.integers(0x8000, 0x7FFFFF))
def test_target_and_work_agree_with_another_library(size: int, word: int) -> None:
    bits = size << 24 | word
    assert target_of(bits) == bitcoinx.bits_to_target(bits)
    assert work(bits) == bitcoinx.bits_to_work(bits)


@given(st.integers(1, 2**256 - 1))
def test_compact_bits_of_any_target_stay_below_it(target: int) -> None:
    assert target_of(bitcoinx.target_to_bits(target)) <= target


def test_a_hash_or_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidHeaderError):
        replace(GENESIS_REGTEST, merkle_root="AA" * 32)
    with pytest.raises(InvalidHeaderError):
        replace(GENESIS_REGTEST, previous_block_hash="00")
    with pytest.raises(InvalidHeaderError, match="out of range"):
        replace(GENESIS_REGTEST, nonce=2**32).to_bytes()
