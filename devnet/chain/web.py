"""What the three wires share: where the chain is, and how to read what strangers send."""

import json
from typing import Any, NoReturn, cast

from flask import Response, abort, current_app, request

from app.bitcoin.hashes import is_txid
from devnet.chain.chainstate import Chain, Place
from devnet.chain.faucet import Faucet
from devnet.chain.faults import Fault, Faults

_DIGITS_MAX = 18


def chain() -> Chain:
    """Return the chain that this application speaks for."""
    return cast("Chain", current_app.extensions["chain"])


def faucet() -> Faucet:
    """Return the chain's faucet."""
    return cast("Faucet", current_app.extensions["faucet"])


def faults() -> Faults:
    """Return the faults in force."""
    return cast("Faults", current_app.extensions["faults"])


def take_fault(*kinds: str) -> Fault | None:
    """Return the fault of these kinds that strikes the current request."""
    return faults().take(kinds, request.method, request.path)


def find_place(txid: str) -> Place | None:
    """Return where a transaction was mined, with a wrong branch under `bad_merkle_path`."""
    place = chain().find_place(txid)
    if place is None or take_fault("bad_merkle_path") is None:
        return place
    branch = [None if node is None else node[::-1] for node in place.branch]
    return Place(place.block, place.tx_index, branch or ["00" * 32])


def refuse(status: int, text: str) -> NoReturn:
    """End the request with plain text, as WhatsOnChain does."""
    abort(Response(text, status, mimetype="text/plain"))


def read_json() -> Any:
    """Return the JSON of the body, whatever its declared type; None when it is none."""
    try:
        return json.loads(request.get_data())
    except (ValueError, RecursionError):
        return None


def read_member(name: str) -> Any:
    """Return a member of the body's JSON object, None without one."""
    body = read_json()
    return body.get(name) if isinstance(body, dict) else None


def read_whole(text: str) -> int | None:
    """Return a number written in at most 18 digits, None for anything else."""
    is_whole = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
    return int(text) if is_whole else None


def query_whole(name: str, default: int, low: int, high: int) -> int:
    """Return a whole number of the query string; 400 outside of the bounds."""
    text = request.args.get(name)
    if text is None:
        return default
    number = read_whole(text)
    if number is None or not low <= number <= high:
        refuse(400, f"{name} must be a number from {low} to {high}")
    return number


def require_txid(text: object) -> str:
    """Return a txid or block hash in lower case; 400 in WhatsOnChain's words for another text."""
    lowered = text.lower() if isinstance(text, str) else text
    if not isinstance(lowered, str) or not is_txid(lowered):
        refuse(400, "txid must be 64 hex characters in length")
    return lowered


def json_text(value: object, status: int = 200, mimetype: str = "application/json") -> Response:
    """Return a response with compact JSON, members in their order."""
    return Response(json.dumps(value, separators=(",", ":")), status, mimetype=mimetype)
