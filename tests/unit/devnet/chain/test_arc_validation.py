"""ARC's own checks."""

from dataclasses import replace

import pytest

from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import data_locking_script
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from devnet.chain.arc.problems import ProblemError
from devnet.chain.arc.requests import SubmitOptions, _split
from devnet.chain.arc.validation import is_push_only, validate
from devnet.chain.payments import locking_script_of, sign
from devnet.chain.rules import NULL_TXID

KEY = PrivateKey.from_hex("11" * 32)
SCRIPT = locking_script_of(KEY)
COIN = TxInput(Outpoint("ab" * 32, 0), TxOutput(10_000, SCRIPT))
DRAFT = Transaction((COIN,), (TxOutput(0, data_locking_script([b"x"])), TxOutput(9_900, SCRIPT)))
STRICT = SubmitOptions("SEEN_ON_NETWORK", False, False, False)


def status_of(tx, options=STRICT):
    try:
        validate(tx, options, 50)
    except ProblemError as problem:
        return problem.status
    return 200


def test_good_transaction_passes():
    assert status_of(sign(DRAFT, KEY)) == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"inputs": ()}, 462),
        ({"inputs": (replace(COIN, outpoint=Outpoint(NULL_TXID, 0xFFFFFFFF)),)}, 462),
        ({"inputs": tuple(replace(COIN, spent=TxOutput(2 * 10**15, b"")) for _ in "ab")}, 462),
        ({"outputs": ()}, 464),
        ({"outputs": (TxOutput(1, b"\x6a"),)}, 464),
        ({"outputs": (TxOutput(1, b"\x00\x6a"),)}, 464),
        ({"outputs": (TxOutput(0, SCRIPT),)}, 464),
        ({"outputs": (TxOutput(2 * 10**15, SCRIPT),) * 2}, 464),
        ({"outputs": (TxOutput(1, bytes(10_000_001)),)}, 474),
        ({"outputs": (TxOutput(10_000, SCRIPT),)}, 465),
        ({"outputs": (TxOutput(10_001, SCRIPT),)}, 465),
        ({"outputs": (TxOutput(1, b""),)}, 463),
        ({"inputs": (replace(COIN, unlocking_script=b"\x61"),)}, 463),
        ({}, 461),
    ],
)
def test_each_check_has_its_number(change, status):
    assert status_of(replace(DRAFT, **change)) == status


def test_extra_info_holds_the_cause():
    with pytest.raises(ProblemError) as refused:
        validate(replace(DRAFT, outputs=(TxOutput(10_000, SCRIPT),)), STRICT, 50)
    assert refused.value.to_json()["extraInfo"] == (
        "arc error 465: transaction fee is too low\nminimum expected fee: 5, actual fee: 0"
    )


def test_checks_can_be_skipped():
    cheap = replace(DRAFT, outputs=(TxOutput(10_000, SCRIPT),))
    assert status_of(sign(cheap, KEY), replace(STRICT, skips_fee=True)) == 200
    assert status_of(DRAFT, replace(STRICT, skips_scripts=True)) == 200
    empty = replace(DRAFT, inputs=())
    assert status_of(empty, replace(STRICT, skips_everything=True)) == 200


@pytest.mark.parametrize(
    ("script", "is_expected"),
    [
        ("", True),
        ("00", True),
        ("0201ff", True),
        ("60", True),
        ("61", False),
        ("4c0261", False),
        ("4c026161", True),
        ("4d02006161", True),
        ("4e0200000061", False),
        ("02ff", False),
        ("4d", False),
    ],
)
def test_push_only_scripts(script, is_expected):
    assert is_push_only(bytes.fromhex(script)) is is_expected


def test_bytes_are_cut_into_transactions_of_either_format():
    parts = [DRAFT.to_bytes(), bytes.fromhex(sign(DRAFT, KEY).to_extended_hex()), DRAFT.to_bytes()]
    assert _split(b"".join(parts)) == parts
    for broken in (b"".join(parts)[:-1], b"\x01"):
        with pytest.raises(ProblemError):
            _split(broken)
