"""ARC's JSON, checked and turned into our types.

HTTP 200 is no acceptance: what counts is `txStatus`, in a refusal the problem's number, and under
both the node's own words in `extraInfo`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.merkle import MerklePath
from app.clients.node_errors import classify_node_error
from app.clients.outcomes import BroadcastOutcome, BroadcastStatus, UnexpectedAnswerError
from app.clients.transport import HttpAnswer

SERVICE = "arc"
MAX_FEE_PER_KILOBYTE = 10_000
_MAX_REASON_LENGTH = 300
_TXID = re.compile(r"[0-9a-f]{64}")
_EXTRA_PREFIX = re.compile(r"^(?:arc error \d+:\s*)?(?:invalid transaction:\s*)?", re.IGNORECASE)
_LOST_DOUBLE_SPEND = "double spend attempted"

# Every other name is UNKNOWN: QUEUED to SENT_TO_NETWORK say only how far ARC itself has come,
# MINED_IN_STALE_BLOCK that it starts again, and hosted builds have names of their own.
_STATUS_BY_NAME: Mapping[str, BroadcastStatus] = MappingProxyType(
    {
        # ARC knows this one from a node that told it, over ZMQ, that it took the transaction into
        # its mempool: as much as WhatsOnChain's 200 says. SEEN_ON_NETWORK is a second witness.
        "ACCEPTED_BY_NETWORK": BroadcastStatus.ACCEPTED,
        "SEEN_ON_NETWORK": BroadcastStatus.ACCEPTED,
        "MINED": BroadcastStatus.ACCEPTED,
        # A parent is missing, or an input was spent in a block: ARC can't tell them apart.
        "SEEN_IN_ORPHAN_MEMPOOL": BroadcastStatus.MISSING_INPUTS,
        # Either of the two may win yet, and a good transaction can be given this after success.
        "DOUBLE_SPEND_ATTEMPTED": BroadcastStatus.CONFLICT,
    }
)

_STATUS_BY_CODE: Mapping[int, BroadcastStatus] = MappingProxyType(
    {
        **dict.fromkeys(
            (422, 461, 463, 464, 467, 468, 471, 472, 474, 475), BroadcastStatus.INVALID
        ),
        # Its causes here (no inputs, a coinbase, values out of range) can't be ours, its detail
        # says "non-existent or spent", and hosted builds may mean that: a claim, not a verdict.
        462: BroadcastStatus.MISSING_INPUTS,
        465: BroadcastStatus.FEE_TOO_LOW,
        466: BroadcastStatus.CONFLICT,
    }
)
# Refused before a node was asked, for a reason that is not the transaction's: a bad header, a
# key, a limit, a parent, merkle root or ancestor that ARC has not seen yet, a time to come.
_NOT_HANDED_ON = frozenset({400, 401, 403, 404, 413, 415, 429, 460, 469, 473, 476})
# Those of them, and others, that say nothing about single transactions of a batch either.
_ABOUT_THE_SERVICE = frozenset({401, 403, 404, 408, 409, 429})


@dataclass(frozen=True)
class ArcTransaction:
    """Where a transaction stands at one ARC; block and path are set only once it is mined.

    The merkle path is of this transaction, its root is yet to be compared with the header.
    """

    txid: str
    tx_status: str
    block_hash: str | None = None
    block_height: int | None = None
    merkle_path: MerklePath | None = None
    competing_txids: tuple[str, ...] = ()
    extra_info: str = ""

    @property
    def is_mined(self) -> bool:
        return self.tx_status == "MINED"


@dataclass(frozen=True)
class ArcPolicy:
    """What this ARC demands; without the standard format only extended transactions are taken."""

    satoshis_per_kilobyte: int
    is_standard_format_supported: bool


def sort_answer(answer: HttpAnswer, txid: str, *, must_name_it: bool = False) -> BroadcastOutcome:
    """Sort the answer to one submission; `must_name_it` where the answer may be about others."""
    fields = find_json(answer)
    if isinstance(fields, dict):
        return sort_item(fields, txid, answer, must_name_it=must_name_it)
    words = "a web page" if answer.is_markup else "no object"
    return BroadcastOutcome(
        BroadcastStatus.UNKNOWN,
        f"answered {answer.status} with {words}",
        answer.status,
        answer.retry_after_seconds,
        was_refused=answer.status in _NOT_HANDED_ON,
        is_outage=answer.is_markup or answer.status >= 500,
    )


def sort_batch(answer: HttpAnswer) -> dict[str, BroadcastOutcome]:
    """Sort the items of a 200 answer to /txs by their txid; successes come first, so no order."""
    items = find_json(answer)
    if isinstance(items, dict):
        # The documented shape, which the server itself does not use.
        items = items.get("transactions")
    outcomes: dict[str, BroadcastOutcome] = {}
    for item in items if isinstance(items, list) else []:
        txid = _find_txid(item.get("txid")) if isinstance(item, dict) else None
        if txid is not None:
            outcomes.setdefault(txid, sort_item(item, txid, answer, must_name_it=True))
    return outcomes


def is_about_the_batch(answer: HttpAnswer) -> bool:
    """Tell whether the call was refused for one of its transactions, which it does not name."""
    is_refusal = 400 <= answer.status < 500 and answer.status not in _ABOUT_THE_SERVICE
    return is_refusal and not answer.is_markup


def sort_item(
    fields: Mapping[str, Any], txid: str, answer: HttpAnswer, *, must_name_it: bool
) -> BroadcastOutcome:
    """Sort a success or problem object; one that is not about `txid` proves nothing."""
    told_txid, name = fields.get("txid"), fields.get("txStatus")
    extra = _text(fields.get("extraInfo"))
    if answer.status < 300 and isinstance(name, str):
        code = answer.status
        status = _sort_name(name, extra)
        reason = f"{name}: {extra}" if extra else name
        is_ours = _find_txid(told_txid) == txid
    else:
        code = _code(fields, answer.status)
        status = _sort_code(code, extra)
        reason = f"{code} {_text(fields.get('title'))}: {extra or _text(fields.get('detail'))}"
        # A problem with the request as a whole names no transaction.
        is_ours = _find_txid(told_txid) == txid or not (told_txid or must_name_it)
    if not is_ours:
        status, reason = BroadcastStatus.UNKNOWN, f"the answer is not about ours: {reason}"
    is_open = status is BroadcastStatus.UNKNOWN
    return BroadcastOutcome(
        status,
        reason[:_MAX_REASON_LENGTH],
        code,
        answer.retry_after_seconds,
        _competitors(fields),
        was_refused=is_open and code in _NOT_HANDED_ON,
        is_outage=is_open and code >= 500,
    )


def parse_transaction(value: Any, txid: str) -> ArcTransaction:
    """Read GET /v1/tx/{txid}: the block's fields count only in MINED, and must fit together."""
    if not isinstance(value, dict) or _find_txid(value.get("txid")) != txid:
        raise _unexpected("the status is not about the transaction")
    name = value.get("txStatus")
    if not isinstance(name, str) or not name:
        raise _unexpected("txStatus is not text")
    extra, competitors = _text(value.get("extraInfo")), _competitors(value)
    if name != "MINED":
        return ArcTransaction(txid, name, competing_txids=competitors, extra_info=extra)
    block_hash, height = _find_txid(value.get("blockHash")), value.get("blockHeight")
    if block_hash is None or type(height) is not int or height < 0:
        raise _unexpected("a mined transaction has no block")
    path = _parse_path(value.get("merklePath"), txid, height)
    return ArcTransaction(txid, name, block_hash, height, path, competitors, extra)


def parse_policy(value: Any) -> ArcPolicy:
    """Read GET /v1/policy; the fee is `satoshis` for each `bytes`, which is not always 1000."""
    policy = value.get("policy") if isinstance(value, dict) else None
    fee = policy.get("miningFee") if isinstance(policy, dict) else None
    if not isinstance(policy, dict) or not isinstance(fee, dict):
        raise _unexpected("the policy has no fee")
    satoshis, size = fee.get("satoshis"), fee.get("bytes")
    if type(satoshis) is not int or type(size) is not int or satoshis <= 0 or size <= 0:
        raise _unexpected("the fee is not a fitting integer")
    satoshis_per_kilobyte = -(-satoshis * 1000 // size)
    if satoshis_per_kilobyte > MAX_FEE_PER_KILOBYTE:
        raise _unexpected("the fee is beyond reason")
    return ArcPolicy(satoshis_per_kilobyte, policy.get("standardFormatSupported") is not False)


def find_json(answer: HttpAnswer) -> Any:
    """Return the body's JSON value, or None when it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _sort_name(name: str, extra: str) -> BroadcastStatus:
    if name == "REJECTED":
        # "discarded from mempool" and words nobody has met stay open: REJECTED can become MINED.
        return _sort_words(extra)
    return _STATUS_BY_NAME.get(name, BroadcastStatus.UNKNOWN)


def _sort_code(code: int, extra: str) -> BroadcastStatus:
    if code in _STATUS_BY_CODE:
        return _STATUS_BY_CODE[code]
    # Anything unclassified is 409; the node's own words in it are worth more than its number.
    return _sort_words(extra) if code == 409 else BroadcastStatus.UNKNOWN


def _sort_words(extra: str) -> BroadcastStatus:
    if extra.lower() == _LOST_DOUBLE_SPEND:
        return BroadcastStatus.CONFLICT
    return classify_node_error(_EXTRA_PREFIX.sub("", extra, count=1))


def _code(fields: Mapping[str, Any], http_status: int) -> int:
    # The successor of ARC answers 400 and keeps the number in the body.
    code = fields.get("status")
    return code if type(code) is int and 400 <= code < 600 and http_status < 500 else http_status


def _competitors(fields: Mapping[str, Any]) -> tuple[str, ...]:
    listed = fields.get("competingTxs")
    found = map(_find_txid, listed) if isinstance(listed, list) else ()
    return tuple(txid for txid in found if txid is not None)


def _parse_path(value: Any, txid: str, height: int) -> MerklePath | None:
    if value in (None, ""):
        return None
    try:
        path = MerklePath.from_hex(value if isinstance(value, str) else "")
        path.root(txid)
    except BitcoinFormatError as error:
        raise _unexpected("the merkle path is not one of the transaction") from error
    if path.block_height != height:
        raise _unexpected("the merkle path is of another block")
    return path


def _find_txid(value: Any) -> str | None:
    text = value.lower() if isinstance(value, str) else ""
    return text if _TXID.fullmatch(text) else None


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _unexpected(reason: str) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(SERVICE, reason)
