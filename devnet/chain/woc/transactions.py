"""WhatsOnChain: transactions, their standing and their proofs."""

from typing import Any

from flask import Blueprint, Response

from app.bitcoin.transactions import Transaction
from devnet.chain.rows import StoredTransaction
from devnet.chain.web import (
    chain,
    find_place,
    json_text,
    read_member,
    read_whole,
    refuse,
    require_txid,
)
from devnet.chain.woc.shapes import transaction_json

blueprint = Blueprint("woc_transactions", __name__)

MAX_TXIDS = 20
_Json = dict[str, Any]


def _require(text: str) -> StoredTransaction:
    stored = chain().store.find_transaction(require_txid(text))
    if stored is None:
        refuse(404, "Not Found")
    return stored


def _read_txids() -> list[str]:
    txids = read_member("txids")
    if not isinstance(txids, list) or not 1 <= len(txids) <= MAX_TXIDS:
        refuse(400, f"txids must be a list of 1 to {MAX_TXIDS}")
    return [require_txid(txid) for txid in txids]


def _block_json(stored: StoredTransaction) -> _Json:
    """Return where a transaction was mined; nothing for one of the mempool."""
    block = None if stored.height is None else chain().store.find_block_at(stored.height)
    if block is None:
        return {}
    return {
        "blockhash": block.block_hash,
        "blockheight": block.height,
        "blocktime": block.header.timestamp,
        "confirmations": chain().confirmations(block.height),
    }


def _whole_json(stored: StoredTransaction) -> _Json:
    mined = _block_json(stored)
    if mined:
        mined["time"] = mined["blocktime"]
    return transaction_json(Transaction.from_bytes(stored.raw), stored.is_coinbase) | mined


@blueprint.get("/tx/hash/<txid>")
@blueprint.get("/tx/<txid>")
def get_transaction(txid: str) -> Response:
    """Answer a decoded transaction, amounts as floats in BSV."""
    with chain().store.lock:
        return json_text(_whole_json(_require(txid)))


@blueprint.get("/tx/<txid>/hex")
def get_hex(txid: str) -> Response:
    """Answer a transaction's bytes as text."""
    return Response(_require(txid).raw.hex(), mimetype="text/plain")


@blueprint.get("/tx/<txid>/out/<vout>/hex")
def get_output_hex(txid: str, vout: str) -> Response:
    """Answer one whole locking script as text."""
    outputs = chain().store.list_outputs(require_txid(txid))
    index = read_whole(vout)
    if index is None or index >= len(outputs):
        refuse(404, "Not Found")
    return Response(outputs[index].script.hex(), mimetype="text/plain")


@blueprint.post("/txs")
def list_transactions() -> Response:
    """Answer up to 20 decoded transactions."""
    return _each(_whole_json)


@blueprint.post("/txs/hex")
def list_hex() -> Response:
    """Answer the bytes of up to 20 transactions."""
    return _each(
        lambda stored: {"txid": stored.txid, "hex": stored.raw.hex()} | _block_json(stored)
    )


@blueprint.post("/txs/status")
def list_status() -> Response:
    """Answer where up to 20 transactions stand; one of the mempool has a txid and nothing else."""
    return _each(lambda stored: {"txid": stored.txid} | _block_json(stored))


def _each(show: Any) -> Response:
    answers = []
    with chain().store.lock:
        for txid in _read_txids():
            stored = chain().store.find_transaction(txid)
            answers.append({"txid": txid, "error": "unknown"} if stored is None else show(stored))
    return json_text(answers)


@blueprint.get("/tx/<txid>/proof/tsc")
def get_proof(txid: str) -> Response:
    """Answer a TSC proof in a list of one, null for a transaction that no block holds."""
    txid = require_txid(txid)
    place = find_place(txid)
    if place is None:
        return json_text(None)
    proof = {
        "index": place.tx_index,
        "txOrId": txid,
        "target": place.block.block_hash,
        "nodes": ["*" if node is None else node for node in place.branch],
    }
    return json_text([proof])
