"""Rules that need no chain."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from devnet.chain.rules import NULL_TXID, check_shape, decode, is_final, minimum_fee
from devnet.chain.verdicts import RejectionError, UndecodableError

COIN = TxInput(Outpoint("ab" * 32, 0), TxOutput(1000, b"\x51"), b"", 0)
TX = Transaction((COIN,), (TxOutput(900, b"\x51"),))


def test_plain_format_is_read_back():
    assert decode(TX.to_bytes()).txid == TX.txid


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw):
    with suppress(RejectionError):
        assert decode(raw).to_bytes() == raw


def test_extended_format_is_not_the_nodes():
    with pytest.raises(UndecodableError, match="TX decode failed"):
        decode(bytes.fromhex(TX.to_extended_hex()))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"\xff" * 8, "16: bad-txns-vout-negative"),
        (b"\xff" * 7 + b"\x7f", "16: bad-txns-vout-toolarge"),
    ],
)
def test_unreadable_values_have_their_own_words(value, words):
    raw = TX.to_bytes().replace((900).to_bytes(8, "little"), value)
    with pytest.raises(RejectionError, match=words):
        decode(raw)
    with pytest.raises(UndecodableError):
        decode(raw + b"\x00")


@pytest.mark.parametrize(
    ("tx", "words"),
    [
        (replace(TX, inputs=()), "16: bad-txns-vin-empty"),
        (replace(TX, outputs=()), "16: bad-txns-vout-empty"),
        (replace(TX, inputs=(COIN, replace(COIN, sequence=5))), "16: bad-txns-inputs-duplicate"),
        (
            replace(TX, inputs=(TxInput(Outpoint(NULL_TXID, 0xFFFFFFFF)),)),
            "16: bad-tx-coinbase",
        ),
        (
            replace(TX, inputs=(COIN, TxInput(Outpoint(NULL_TXID, 0xFFFFFFFF)))),
            "16: bad-txns-prevout-null",
        ),
        (
            replace(TX, outputs=(TxOutput(21_000_000 * 10**8, b""), TxOutput(1, b""))),
            "16: bad-txns-txouttotal-toolarge",
        ),
        (
            replace(TX, outputs=(TxOutput(1, b"\xa9\x14" + bytes(20) + b"\x87"),)),
            "16: bad-txns-vout-p2sh",
        ),
        (replace(TX, outputs=(TxOutput(1, bytes(10_000_001)),)), "64: tx-size"),
    ],
)
def test_wrong_shapes_are_refused_in_words(tx, words):
    with pytest.raises(RejectionError) as refused:
        check_shape(tx)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("locktime", "sequence", "is_expected"),
    [
        (0, 0, True),
        (99, 0, True),
        (100, 0, False),
        (100, 0xFFFFFFFF, True),
        (499_999_999, 0, False),
        (500_000_000, 0, True),
        (1_700_000_000, 0, False),
        (1_699_999_999, 0, True),
    ],
)
def test_locktime_is_a_height_or_a_median_time(locktime, sequence, is_expected):
    tx = replace(TX, inputs=(replace(COIN, sequence=sequence),), locktime=locktime)
    assert is_final(tx, 100, 1_700_000_000) is is_expected


@pytest.mark.parametrize(
    ("size", "rate", "fee"),
    [(1000, 50, 50), (1019, 50, 50), (1020, 50, 51), (10, 50, 1), (10, 0, 0)],
)
def test_minimum_fee_is_rounded_down_to_no_less_than_one(size, rate, fee):
    assert minimum_fee(size, rate) == fee
