"""WhatsOnChain's JSON, checked field by field and turned into our types.

Every function raises UnexpectedAnswerError rather than guess: what is read here decides about
money. Amounts are integer satoshis, hashes are display hex.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.headers import BlockHeader
from app.clients.chain_types import (
    ChainInfo,
    ChainStatus,
    HeaderAt,
    Spend,
    TscProof,
    UnspentOutput,
)
from app.clients.outcomes import UnexpectedAnswerError

SERVICE = "whatsonchain"
MAX_SATOSHIS = 21_000_000 * 100_000_000
MAX_UINT32 = 0xFFFF_FFFF
MAX_FEE_PER_KILOBYTE = 10_000
_ZERO_HASH = "00" * 32
_HEX_DIGITS = frozenset("0123456789abcdef")


def parse_txid_text(text: str) -> str | None:
    """Return the txid in a plain-text answer, bare or in one pair of quotes, else None."""
    stripped = text.strip()
    if len(stripped) == 66 and stripped[0] == stripped[-1] == '"':
        stripped = stripped[1:-1]
    return stripped.lower() if _is_hash(stripped) else None


def parse_hex_text(text: str) -> bytes:
    """Return the bytes of a plain-text hex answer, bare or in one pair of quotes."""
    return _hex_bytes(text.strip().strip('"'), "hex")


def parse_chain_info(value: Any) -> ChainInfo:
    """Read /chain/info; the tip is `blocks`, since `headers` can lag behind it."""
    fields = _object(value, "chain info")
    return ChainInfo(
        chain=_text(fields, "chain"),
        tip_height=_integer(fields, "blocks"),
        tip_hash=_hash(fields, "bestblockhash"),
    )


def parse_statuses(value: Any) -> dict[str, ChainStatus]:
    """Read /txs/status by txid; an item that says nothing clear is left out."""
    statuses = {}
    for item in _list(value, "statuses"):
        fields = _object(item, "status")
        status = _find_status(fields)
        if status is not None:
            statuses[_hash(fields, "txid")] = status
    return statuses


def _find_status(fields: Mapping[str, Any]) -> ChainStatus | None:
    error = fields.get("error")
    if error:
        return ChainStatus("unknown") if error == "unknown" else None
    if not fields.get("blockhash"):
        return ChainStatus("mempool")
    confirmations = _integer(fields, "confirmations", minimum=-1)
    if confirmations < 1:
        # A block off the best chain: the transaction may be anywhere.
        return None
    return ChainStatus(
        "mined", _hash(fields, "blockhash"), _integer(fields, "blockheight"), confirmations
    )


def parse_proof(value: Any, txid: str) -> TscProof | None:
    """Read /tx/{txid}/proof/tsc: an array of one, the bare object, or null while unmined."""
    if value is None or value == []:
        return None
    if isinstance(value, list):
        value = value[0]
    fields = _object(value, "proof")
    if _hash(fields, "txOrId") != txid:
        raise _unexpected("the proof is of another transaction")
    nodes = tuple(_parse_node(node) for node in _list(fields.get("nodes"), "nodes"))
    index = _integer(fields, "index")
    if index >> len(nodes):
        raise _unexpected("the proof is too short for its index")
    return TscProof(txid, index, _hash(fields, "target"), nodes)


def _parse_node(node: Any) -> str:
    if node == "*":
        return "*"
    return _hash({"node": node}, "node")


def parse_header(value: Any) -> HeaderAt:
    """Read /block/{id}/header, rebuild the 80 bytes and check that they hash to `hash`."""
    fields = _object(value, "header")
    block_hash = _hash(fields, "hash")
    previous = fields.get("previousblockhash")
    try:
        header = BlockHeader(
            version=_integer(fields, "version", minimum=-(2**31)),
            previous_block_hash=_hash(fields, "previousblockhash") if previous else _ZERO_HASH,
            merkle_root=_hash(fields, "merkleroot"),
            timestamp=_integer(fields, "time"),
            bits=int.from_bytes(_hex_bytes(_text(fields, "bits"), "bits"), "big"),
            nonce=_integer(fields, "nonce"),
        )
        computed_hash = header.block_hash
    except (BitcoinFormatError, OverflowError) as error:
        raise _unexpected("the header's fields do not fit in 80 bytes") from error
    if computed_hash != block_hash:
        raise _unexpected("the header does not hash to what it says")
    return HeaderAt(header, _integer(fields, "height"), block_hash)


def parse_unspent_page(value: Any, address: str) -> tuple[list[UnspentOutput], str | None]:
    """Read one page of /unspent/all: its outputs, and the token of the next page."""
    fields = _object(value, "unspent list")
    if fields.get("address") != address:
        raise _unexpected("the unspent list is of another address")
    if fields.get("error"):
        raise _unexpected("the unspent list carries an error")
    if "result" not in fields and "unspent" not in fields:
        raise _unexpected("the unspent list has no result")
    entries = fields.get("result", fields.get("unspent"))
    outputs = [] if entries is None else [_parse_output(e) for e in _list(entries, "result")]
    token = fields.get("nextPageToken") or None
    if token is not None and not isinstance(token, str):
        raise _unexpected("nextPageToken is not text")
    return outputs, token


def _parse_output(entry: Any) -> UnspentOutput:
    fields = _object(entry, "output")
    script = fields.get("hex")
    is_spent = fields.get("isSpentInMempoolTx", False)
    if not isinstance(is_spent, bool):
        raise _unexpected("isSpentInMempoolTx is not a boolean")
    return UnspentOutput(
        txid=_hash(fields, "tx_hash"),
        vout=_integer(fields, "tx_pos", maximum=MAX_UINT32),
        satoshis=_integer(fields, "value", maximum=MAX_SATOSHIS),
        height=_parse_height(fields),
        is_spent_in_mempool=is_spent,
        locking_script=_hex_bytes(script, "hex") if script else None,
    )


def _parse_height(fields: Mapping[str, Any]) -> int | None:
    status = fields.get("status")
    if status not in (None, "confirmed", "unconfirmed"):
        raise _unexpected("the output has an odd status")
    if status == "unconfirmed" or (status is None and fields.get("height") in (None, 0)):
        return None
    return _integer(fields, "height", minimum=1)


def fold_duplicates(outputs: Iterable[UnspentOutput]) -> list[UnspentOutput]:
    """Return each outpoint once, the confirmed entry first, spent if any entry says so.

    Around its confirmation an output is listed both from the mempool and from the block.
    """
    folded: dict[tuple[str, int], UnspentOutput] = {}
    for output in outputs:
        key = (output.txid, output.vout)
        other = folded.get(key)
        folded[key] = output if other is None else _merge(other, output)
    return list(folded.values())


def _merge(first: UnspentOutput, second: UnspentOutput) -> UnspentOutput:
    if first.satoshis != second.satoshis:
        raise _unexpected("one output is listed with two values")
    best = second if first.height is None else first
    return UnspentOutput(
        txid=best.txid,
        vout=best.vout,
        satoshis=best.satoshis,
        height=best.height,
        is_spent_in_mempool=first.is_spent_in_mempool or second.is_spent_in_mempool,
        locking_script=first.locking_script or second.locking_script,
    )


def parse_spend(value: Any) -> Spend:
    """Read one spend; it exists only where an output is spent."""
    fields = _object(value, "spend")
    status = fields.get("status")
    if status not in ("confirmed", "unconfirmed"):
        raise _unexpected("the spend has an odd status")
    vin = _integer(fields, "vin", maximum=MAX_UINT32)
    return Spend(_hash(fields, "txid"), vin, status == "confirmed")


def parse_bulk_spends(value: Any) -> dict[tuple[str, int], Spend]:
    """Read /utxos/spent by outpoint; only items that name a spend are in the result.

    An item without one may be unspent or unknown, which this form does not tell apart.
    """
    spends = {}
    for item in _list(value, "spends"):
        fields = _object(item, "spend item")
        if fields.get("error") or not fields.get("spentIn"):
            continue
        asked = _object(fields.get("utxo"), "utxo")
        key = (_hash(asked, "txid"), _integer(asked, "vout", maximum=MAX_UINT32))
        spends[key] = parse_spend(fields["spentIn"])
    return spends


def find_fee(value: Any) -> int | None:
    """Read /feerecommendation in satoshis per 1000 bytes, rounded up; None when it is odd."""
    if not isinstance(value, dict) or value.get("error"):
        return None
    unit = value.get("fee_unit", "sat/KB")
    fee = value.get("fee")
    if not isinstance(unit, str) or unit.lower() not in ("sat/kb", "sat/kbyte"):
        return None
    if isinstance(fee, bool) or not isinstance(fee, int | float):
        return None
    return math.ceil(fee) if 0 < fee <= MAX_FEE_PER_KILOBYTE else None


def _unexpected(reason: str) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(SERVICE, reason)


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _unexpected(f"{what} is not an object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _unexpected(f"{what} is not a list")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise _unexpected(f"{name} is not text")
    return value


def _integer(
    fields: Mapping[str, Any], name: str, *, minimum: int = 0, maximum: int | None = None
) -> int:
    value = fields.get(name)
    # bool is an int to isinstance, and true is not an amount.
    if type(value) is not int or value < minimum or (maximum is not None and value > maximum):
        raise _unexpected(f"{name} is not a fitting integer")
    return value


def _hash(fields: Mapping[str, Any], name: str) -> str:
    value = _text(fields, name)
    if not _is_hash(value):
        raise _unexpected(f"{name} is not 64 hex characters")
    return value.lower()


def _is_hash(text: str) -> bool:
    return len(text) == 64 and _HEX_DIGITS.issuperset(text.lower())


def _hex_bytes(value: Any, what: str) -> bytes:
    # bytes.fromhex alone would skip whitespace.
    if not isinstance(value, str) or not _HEX_DIGITS.issuperset(value.lower()):
        raise _unexpected(f"{what} is not hex")
    try:
        return bytes.fromhex(value)
    except ValueError as error:
        raise _unexpected(f"{what} is not hex") from error
