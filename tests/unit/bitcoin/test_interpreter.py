import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from bsv.script.script import Script
from bsv.script.spend import Spend
from bsv.transaction import Transaction as SdkTransaction
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.errors import InvalidTransactionError, ScriptVerificationError
from app.bitcoin.interpreter import verify_input_scripts
from app.bitcoin.keys import N, PrivateKey
from app.bitcoin.scripts import p2pkh_unlocking_script, push
from app.bitcoin.sighash import sighash
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput


def sdk_verifies(transaction: Transaction) -> bool:
    """Run every input in the other implementation's interpreter."""
    other = SdkTransaction.from_hex(transaction.to_hex())
    assert other is not None
    for index, ours in enumerate(transaction.inputs):
        theirs, spent = other.inputs[index], ours.require_spent()
        spend = Spend(
            {
                "sourceTXID": theirs.source_txid,
                "sourceOutputIndex": theirs.source_output_index,
                "sourceSatoshis": spent.satoshis,
                "lockingScript": Script(spent.locking_script),
                "transactionVersion": other.version,
                "otherInputs": [each for n, each in enumerate(other.inputs) if n != index],
                "inputIndex": index,
                "unlockingScript": theirs.unlocking_script,
                "outputs": other.outputs,
                "inputSequence": theirs.sequence,
                "lockTime": other.locktime,
            }
        )
        if not spend.validate():
            return False
    return True


def failure_of(transaction: Transaction) -> ScriptVerificationError:
    with pytest.raises(ScriptVerificationError) as caught:
        verify_input_scripts(transaction)
    return caught.value


def spend_of(locking_script: bytes, unlocking_script: bytes) -> Transaction:
    tx_input = TxInput(Outpoint("aa" * 32, 0), TxOutput(1, locking_script), unlocking_script)
    return Transaction((tx_input,), (TxOutput(0, b"\x6a"),))


@pytest.mark.parametrize("input_count", [1, 10, 100])
def test_our_transactions_unlock_here_and_in_another_implementation(
    make_signed: Callable[..., Transaction], input_count: int
) -> None:
    transaction = make_signed(input_count)
    verify_input_scripts(transaction)
    assert sdk_verifies(transaction)


def test_the_failing_input_is_named(make_signed: Callable[..., Transaction]) -> None:
    transaction = make_signed(3)
    scripts = [each.unlocking_script for each in transaction.inputs]
    error = failure_of(transaction.with_unlocking_scripts([scripts[0], scripts[0], scripts[2]]))
    assert error.input_index == 1
    assert error.detail == "Signature must be zero for failed CHECK(MULTI)SIG operation"
    assert str(error).startswith("Input 1 does not unlock its output: Signature must be zero")


def test_f4_a_signature_over_the_reversed_digest_fails(
    key: PrivateKey, make_unsigned: Callable[[int], Transaction]
) -> None:
    unsigned = make_unsigned(1)
    script = p2pkh_unlocking_script(key.sign(sighash(unsigned, 0)[::-1]), key.public_key.to_bytes())
    error = failure_of(unsigned.with_unlocking_scripts([script]))
    assert error.detail == "Signature must be zero for failed CHECK(MULTI)SIG operation"


def test_f4_hash_type_without_forkid_fails(make_signed: Callable[..., Transaction]) -> None:
    error = failure_of(make_signed(1, sighash_type=0x01))
    assert error.detail == "Signature must use SIGHASH_FORKID"


def test_s19_high_s_fails(key: PrivateKey, make_unsigned: Callable[[int], Transaction]) -> None:
    unsigned = make_unsigned(1)
    r, s = decode_dss_signature(key.sign(sighash(unsigned, 0)))
    twin = p2pkh_unlocking_script(encode_dss_signature(r, N - s), key.public_key.to_bytes())
    error = failure_of(unsigned.with_unlocking_scripts([twin]))
    assert error.detail == "Non-canonical signature: S value is unnecessarily high"


@pytest.mark.parametrize("sighash_type", [0x42, 0x43, 0xC1, 0xC2, 0xC3])
def test_other_types_with_forkid_pass_as_at_a_node(
    make_signed: Callable[..., Transaction], sighash_type: int
) -> None:
    verify_input_scripts(make_signed(1, sighash_type=sighash_type))


def test_another_key_fails(make_signed: Callable[..., Transaction]) -> None:
    error = failure_of(make_signed(1, signer=PrivateKey.from_hex("22" * 32)))
    assert error.detail == "Signature must be zero for failed CHECK(MULTI)SIG operation"


def test_a_changed_amount_or_output_fails(make_signed: Callable[..., Transaction]) -> None:
    transaction = make_signed(1)
    tx_input = transaction.inputs[0]
    richer = replace(tx_input.require_spent(), satoshis=2_000)
    failure_of(replace(transaction, inputs=(replace(tx_input, spent=richer),)))
    failure_of(replace(transaction, outputs=transaction.outputs[:1]))
    failure_of(replace(transaction, locktime=1))


def test_a_key_of_another_hash_fails(
    key: PrivateKey, make_unsigned: Callable[[int], Transaction]
) -> None:
    unsigned = make_unsigned(1)
    other = PrivateKey.from_hex("22" * 32)
    script = p2pkh_unlocking_script(key.sign(sighash(unsigned, 0)), other.public_key.to_bytes())
    error = failure_of(unsigned.with_unlocking_scripts([script]))
    assert error.detail == "Script failed an OP_EQUALVERIFY operation"


FALSE_RESULT = "Script evaluated without error but finished with a false/empty top stack element"
ANY_KEY = "21" + "02" * 33


@pytest.mark.parametrize(
    ("locking", "unlocking", "detail"),
    [
        ("", "", FALSE_RESULT),
        ("00", "", FALSE_RESULT),
        ("006a", "", FALSE_RESULT),
        ("51", "51", "Extra items left on stack after execution"),
        ("ac", "", "Operation not valid with the current stack size"),
        ("ac", "51ac", "Only non-push operators allowed in signature scripts"),
        ("05aa", "51", "Opcode missing or not understood"),
        ("ff", "51", "Opcode missing or not understood"),
        ("0101", "", "Data push larger than necessary"),
        ("ac", "0141" + ANY_KEY, "Non-canonical DER signature"),
        ("ac", "09300602010102010140" + ANY_KEY, "Signature hash type missing or not understood"),
        (
            "ac",
            "09300602010102010141" + "03020202",
            "Public key is neither compressed or uncompressed",
        ),
        ("63", "51", "Invalid OP_IF construction"),
    ],
)
def test_scripts_fail_in_a_nodes_words(locking: str, unlocking: str, detail: str) -> None:
    error = failure_of(spend_of(bytes.fromhex(locking), bytes.fromhex(unlocking)))
    assert error.detail == detail


def test_a_script_that_needs_no_signature_passes() -> None:
    verify_input_scripts(spend_of(b"\x87", b"\x51\x51"))


@pytest.mark.parametrize(
    ("locking", "unlocking"),
    [
        ("80", "51" + "04fdfafa61"),  # OP_NUM2BIN to 1.6 gigabytes
        ("7e" * 3 + "51" + "767e" * 60, "51" * 4),  # OP_DUP OP_CAT, doubling
        ("76" * 20_000, "51"),
    ],
)
def test_a_hostile_script_is_stopped_before_it_takes_time_or_memory(
    locking: str, unlocking: str
) -> None:
    started = time.monotonic()
    failure_of(spend_of(bytes.fromhex(locking), bytes.fromhex(unlocking)))
    assert time.monotonic() - started < 1


def test_every_spent_output_must_be_known(make_signed: Callable[..., Transaction]) -> None:
    transaction = make_signed(2)
    bare = (transaction.inputs[0], replace(transaction.inputs[1], spent=None))
    with pytest.raises(InvalidTransactionError, match="not known"):
        verify_input_scripts(replace(transaction, inputs=bare))


@given(st.binary(max_size=60), st.lists(st.binary(max_size=80), max_size=6))
def test_any_locking_script_passes_or_fails_in_one_way(locking: bytes, items: list[bytes]) -> None:
    with suppress(ScriptVerificationError):
        verify_input_scripts(spend_of(locking, b"".join(push(item) for item in items)))


@given(st.lists(st.sampled_from(range(256)), max_size=40).map(bytes))
def test_any_unlocking_script_passes_or_fails_in_one_way(unlocking: bytes) -> None:
    with suppress(ScriptVerificationError):
        verify_input_scripts(spend_of(b"\x51", unlocking))
