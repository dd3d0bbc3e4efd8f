"""WhatsOnChain: handing in a transaction."""

import json

from flask import Blueprint, Response, request

from devnet.chain.verdicts import MissingInputsError, RejectionError
from devnet.chain.web import chain, read_json, take_fault

blueprint = Blueprint("woc_broadcast", __name__)


@blueprint.post("/tx/raw")
def broadcast() -> Response:
    """Answer the txid, or 400 with the node's words; both as a JSON string."""
    body = read_json()
    if not isinstance(body, dict) or not isinstance(body.get("txhex"), str):
        return _string("txhex is required", 400)
    fault = take_fault("false_missing_inputs", "accept_then_missing_inputs")
    try:
        if fault is not None and fault.kind == "false_missing_inputs":
            raise MissingInputsError
        txid = chain().mempool.submit_hex(body["txhex"])
        if fault is not None:
            raise MissingInputsError
    except RejectionError as rejection:
        return _string(f"unexpected response code 500: {rejection}", 400)
    return _string(txid, 200)


def _string(text: str, status: int) -> Response:
    """Return text in quotes, or bare for a client that accepts only plain text."""
    is_bare = request.headers.get("Accept") == "text/plain"
    return Response(text if is_bare else json.dumps(text), status, mimetype="text/plain")
