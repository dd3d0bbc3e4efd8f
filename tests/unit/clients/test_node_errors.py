"""Every refusal that a node is known to give, sorted by its reason."""

import json

import pytest

from app.clients.node_errors import classify_node_error
from app.clients.outcomes import BroadcastStatus

ALREADY_KNOWN = [
    "Transaction already in the mempool",
    "257: txn-already-in-mempool",
    "257: txn-already-known",
]
MISSING_INPUTS = ["Missing inputs", "missing-inputs", "16: missing-inputs"]
CONFLICT = ["258: txn-mempool-conflict", "18: txn-double-spend-detected"]
FEE_TOO_LOW = [
    "66: mempool min fee not met",
    "66: insufficient priority",
    "66: min relay fee not met",
]
INVALID_VALUES = [
    "vin-empty",
    "vout-empty",
    "oversize",
    "vout-negative",
    "vout-toolarge",
    "txouttotal-toolarge",
    "vout-p2sh",
    "prevout-null",
    "inputs-duplicate",
    "inputs-too-large",
    "inputvalues-outofrange",
    "in-belowout",
    "fee-negative",
    "fee-outofrange",
    "inputs-frozen",
]
SCRIPT_FAILED = "16: mandatory-script-verify-flag-failed"
INVALID = [
    "TX decode failed",
    f"{SCRIPT_FAILED} (Signature must be zero for failed CHECK(MULTI)SIG operation)",
    f"{SCRIPT_FAILED} (Non-canonical signature: S value is unnecessarily high)",
    f"{SCRIPT_FAILED} (Signature must use SIGHASH_FORKID)",
    "64: non-mandatory-script-verify-flag (No error)",
    "64: genesis-script-verify-flag-failed (Script failed)",
    "64: chronicle-script-verify-flag-failed (Script failed)",
    "16: max-script-num-overflow (Script number overflow)",
    "16: max-script-num-length-policy-limit-violated (Script number overflow)",
    *(f"16: bad-txns-{value}" for value in INVALID_VALUES),
    "16: bad-txn-sigops",
    "16: bad-tx-coinbase",
    "64: bad-txns-too-many-sigops",
    "64: bad-txns-nonstandard-inputs",
    "64: version",
    "64: tx-size",
    "64: scriptsig-size",
    "64: scriptsig-not-pushonly",
    "64: bare-multisig",
    "64: dust",
    "64: datacarrier-size-exceeded",
    "64: scriptpubkey",
    "256: absurdly-high-fee",
    "64: flexible-dust",
    "16: flexible-bad-txns-in-belowout",
]
TEMPORARY = [
    "66: mempool full",
    "64: too-long-mempool-chain",
    "64: too-long-validation-time",
    "64: non-BIP68-final",
    "64: too-long-non-final-chain",
    "16: bad-txns-premature-spend-of-coinbase",
    "259: non-final-pool-full",
    "69: non-final-txn-replacement-rate",
]
NEVER_MET = [
    "",
    "   ",
    "-28: Loading block index...",
    "Too Many Requests",
    "16: bad-txns-something-new",
    "txn-already",
    "Internal Server Error",
    "<html><body>Missing inputs</body></html>",
    "the words Missing inputs in a sentence",
    '"',
    '"\\x"',
]

TABLE = [
    (text, status)
    for status, texts in (
        (BroadcastStatus.ALREADY_KNOWN, ALREADY_KNOWN),
        (BroadcastStatus.MISSING_INPUTS, MISSING_INPUTS),
        (BroadcastStatus.CONFLICT, CONFLICT),
        (BroadcastStatus.FEE_TOO_LOW, FEE_TOO_LOW),
        (BroadcastStatus.INVALID, INVALID),
        (BroadcastStatus.UNKNOWN, TEMPORARY + NEVER_MET),
    )
    for text in texts
]


@pytest.mark.parametrize(("text", "status"), TABLE)
def test_a_bare_reason_is_sorted(text: str, status: BroadcastStatus) -> None:
    assert classify_node_error(text) is status


@pytest.mark.parametrize(("text", "status"), TABLE)
def test_m6_wrapped_quoted_and_padded_reasons_mean_the_same(
    text: str, status: BroadcastStatus
) -> None:
    wrapped = f"unexpected response code 500: {text}"

    assert classify_node_error(wrapped) is status
    assert classify_node_error(json.dumps(wrapped)) is status
    assert classify_node_error(f"\n{json.dumps(text)}\r\n") is status


@pytest.mark.parametrize("text", ["66: mempool full", "66: mempool min fee not met"])
def test_code_66_says_nothing_by_itself(text: str) -> None:
    other = text.replace("66", "257")

    assert classify_node_error(other) is classify_node_error(text)


@pytest.mark.parametrize("text", ["66", "66:", "257: ", "258"])
def test_a_code_without_a_reason_is_unknown(text: str) -> None:
    assert classify_node_error(text) is BroadcastStatus.UNKNOWN


def test_case_does_not_matter() -> None:
    assert classify_node_error("MISSING INPUTS") is BroadcastStatus.MISSING_INPUTS
