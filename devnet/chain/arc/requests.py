"""What clients of ARC send: headers, and transactions in three content types and two formats."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Request

from app.bitcoin.errors import BitcoinFormatError, InvalidTransactionError
from app.bitcoin.serialization import ByteReader, bytes_from_hex
from app.bitcoin.transactions import Transaction
from devnet.chain.arc.problems import ProblemError
from devnet.chain.rules import EXTENDED_MARKER
from devnet.chain.web import read_whole

STATUS_NAMES = (
    "UNKNOWN",
    "QUEUED",
    "RECEIVED",
    "STORED",
    "ANNOUNCED_TO_NETWORK",
    "REQUESTED_BY_NETWORK",
    "SENT_TO_NETWORK",
    "ACCEPTED_BY_NETWORK",
    "SEEN_IN_ORPHAN_MEMPOOL",
    "SEEN_ON_NETWORK",
    "DOUBLE_SPEND_ATTEMPTED",
    "REJECTED",
    "MINED_IN_STALE_BLOCK",
    "MINED",
)
MAX_TIMEOUT_SECONDS = 30
_BEEF_MARKER = bytes.fromhex("beef")


@dataclass(frozen=True)
class SubmitOptions:
    """The headers that change what a submission does."""

    wait_for: str
    skips_fee: bool
    skips_scripts: bool
    skips_everything: bool


def read_options(request: Request) -> SubmitOptions:
    """Read and check the headers of a submission."""
    _check_callback(request.headers.get("X-CallbackUrl", ""))
    seconds = read_whole(request.headers.get("X-MaxTimeout", "5"))
    if seconds is None or seconds > MAX_TIMEOUT_SECONDS:
        raise ProblemError(400, f"max timeout must not exceed {MAX_TIMEOUT_SECONDS} seconds")
    wait_for = request.headers.get("X-WaitFor", "SEEN_ON_NETWORK")
    if wait_for not in STATUS_NAMES:
        raise ProblemError(400, "status not supported")
    return SubmitOptions(
        wait_for,
        _flag(request, "X-SkipFeeValidation"),
        _flag(request, "X-SkipScriptValidation"),
        _flag(request, "X-SkipTxValidation"),
    )


def _check_callback(url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or host == "localhost":
        raise ProblemError(400, "invalid callback URL")


def _flag(request: Request, name: str) -> bool:
    text = request.headers.get(name, "false").lower()
    if text not in ("true", "false"):
        raise ProblemError(400, f"{name} is not a boolean")
    return text == "true"


def read_transaction(request: Request) -> Transaction:
    """Read the one transaction of the body, in the plain or the extended format."""
    body = request.get_data()
    kind = request.mimetype
    if kind == "application/json":
        return _parse_hex(_raw_tx_of(_parse_json(body)))
    if kind == "text/plain":
        return _parse_hex(body.decode("latin-1"))
    if kind == "application/octet-stream":
        return _parse(body)
    raise ProblemError(400, f"given content-type {kind} does not match any of the allowed types")


def read_transactions(request: Request) -> list[Transaction]:
    """Read the transactions of the body; one that is unreadable fails them all."""
    body = request.get_data()
    kind = request.mimetype
    if kind == "application/json":
        items = _parse_json(body)
        found = [_parse_hex(_raw_tx_of(each)) for each in _require_list(items)]
    elif kind == "text/plain":
        found = [_parse_hex(line) for line in body.decode("latin-1").splitlines()]
    elif kind == "application/octet-stream":
        found = [_parse(raw) for raw in _split(body)]
    else:
        raise ProblemError(
            400, f"given content-type {kind} does not match any of the allowed types"
        )
    if not found:
        raise ProblemError(400, "no transactions found")
    return found


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ProblemError(400, "error parsing transactions from request: no JSON") from None


def _require_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ProblemError(400, "error parsing transactions from request: no array")
    return value


def _raw_tx_of(value: Any) -> str:
    text = value.get("rawTx") if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise ProblemError(400, "error parsing transactions from request: no rawTx")
    return text


def _parse_hex(text: str) -> Transaction:
    try:
        return _parse(bytes_from_hex(text, InvalidTransactionError, "The transaction"))
    except InvalidTransactionError as error:
        raise ProblemError(400, f"error parsing transactions from request: {error}") from None


def _parse(raw: bytes) -> Transaction:
    if raw[2:4] == _BEEF_MARKER:
        raise ProblemError(463, "BEEF is not read by the devnet; send the extended format")
    try:
        return Transaction.from_bytes(raw)
    except BitcoinFormatError as error:
        raise ProblemError(400, f"error parsing transactions from request: {error}") from None


def _split(body: bytes) -> list[bytes]:
    """Cut transactions that follow each other without anything between."""
    reader = ByteReader(body, InvalidTransactionError, "The body")
    parts = []
    try:
        while reader.remaining:
            start = len(body) - reader.remaining
            _skip_transaction(reader)
            parts.append(body[start : len(body) - reader.remaining])
    except InvalidTransactionError as error:
        raise ProblemError(400, f"error parsing transactions from request: {error}") from None
    return parts


def _skip_transaction(reader: ByteReader) -> None:
    reader.read(4)
    is_extended = reader.peek(6) == EXTENDED_MARKER
    if is_extended:
        reader.read(6)
    for _ in range(reader.read_count(41)):
        reader.read(36)
        reader.read_varbytes()
        reader.read(4)
        if is_extended:
            reader.read(8)
            reader.read_varbytes()
    for _ in range(reader.read_count(9)):
        reader.read(8)
        reader.read_varbytes()
    reader.read(4)
