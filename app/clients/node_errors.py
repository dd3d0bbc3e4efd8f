"""The words with which a node refuses a transaction, and what each of them means.

Source: bitcoin-sv `src/validation.cpp`, `src/script/standard.cpp`, `src/rpc/rawtransaction.cpp`,
and measurements on a 1.2.2 node. The numeric code is never looked at: 66 alone stands for a full
mempool (the same bytes are good later) and for a fee that is too low (they never are).
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType

from app.clients.outcomes import BroadcastStatus

_REASONS_BY_STATUS: Mapping[BroadcastStatus, tuple[str, ...]] = MappingProxyType(
    {
        BroadcastStatus.ALREADY_KNOWN: (
            "transaction already in the mempool",
            "txn-already-in-mempool",
            "txn-already-known",
        ),
        BroadcastStatus.MISSING_INPUTS: ("missing inputs", "missing-inputs"),
        BroadcastStatus.CONFLICT: ("txn-mempool-conflict", "txn-double-spend-detected"),
        BroadcastStatus.FEE_TOO_LOW: (
            "mempool min fee not met",
            "min relay fee not met",
            "insufficient priority",
        ),
        BroadcastStatus.INVALID: (
            "tx decode failed",
            "mandatory-script-verify-flag-failed",
            "non-mandatory-script-verify-flag",
            "genesis-script-verify-flag-failed",
            "chronicle-script-verify-flag-failed",
            "max-script-num-overflow",
            "max-script-num-length-policy-limit-violated",
            "bad-txns-vin-empty",
            "bad-txns-vout-empty",
            "bad-txns-oversize",
            "bad-txns-vout-negative",
            "bad-txns-vout-toolarge",
            "bad-txns-txouttotal-toolarge",
            "bad-txns-vout-p2sh",
            "bad-txns-prevout-null",
            "bad-txns-inputs-duplicate",
            "bad-txns-inputs-too-large",
            "bad-txns-inputvalues-outofrange",
            "bad-txns-in-belowout",
            "bad-txns-fee-negative",
            "bad-txns-fee-outofrange",
            "bad-txns-inputs-frozen",
            "bad-txn-sigops",
            "bad-tx-coinbase",
            "bad-txns-too-many-sigops",
            "bad-txns-nonstandard-inputs",
            "version",
            "tx-size",
            "scriptsig-size",
            "scriptsig-not-pushonly",
            "bare-multisig",
            "dust",
            "datacarrier-size-exceeded",
            "scriptpubkey",
            "absurdly-high-fee",
        ),
        # Temporary: the same bytes may be good later, so the outcome stays open.
        BroadcastStatus.UNKNOWN: (
            "mempool full",
            "too-long-mempool-chain",
            "too-long-validation-time",
            "non-bip68-final",
            "too-long-non-final-chain",
            "bad-txns-premature-spend-of-coinbase",
            "non-final-pool-full",
            "non-final-txn-replacement-rate",
        ),
    }
)

_STATUS_BY_REASON: Mapping[str, BroadcastStatus] = MappingProxyType(
    {reason: status for status, reasons in _REASONS_BY_STATUS.items() for reason in reasons}
)

_PREFIXES = re.compile(r"^(?:unexpected response code \d+:\s*)?(?:-?\d+:\s*)?", re.IGNORECASE)
_DETAIL = re.compile(r"\s*\(.*\)$", re.DOTALL)


def classify_node_error(text: str) -> BroadcastStatus:
    """Sort a node's refusal by its reason; a reason that nobody has met is UNKNOWN."""
    return _STATUS_BY_REASON.get(_find_reason(text), BroadcastStatus.UNKNOWN)


def unquote_node_error(text: str) -> str:
    """Return the words without the JSON quotes in which WhatsOnChain may wrap them."""
    stripped = text.strip()
    if len(stripped) < 2 or stripped[0] != '"' or stripped[-1] != '"':
        return stripped
    try:
        return str(json.loads(stripped)).strip()
    except ValueError:
        return stripped[1:-1].strip()


def _find_reason(text: str) -> str:
    words = _PREFIXES.sub("", unquote_node_error(text), count=1)
    return _DETAIL.sub("", words).strip().lower().removeprefix("flexible-")
