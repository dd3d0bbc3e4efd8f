"""The control port: what no real chain lets anyone do."""

from typing import Any

from flask import Blueprint, Response

from app.bitcoin.addresses import parse_address
from app.bitcoin.errors import InvalidAddressError
from app.bitcoin.hashes import is_txid
from devnet.chain.chainstate import ChainRequestError
from devnet.chain.faucet import NETWORK
from devnet.chain.faults import Fault, InvalidFaultError
from devnet.chain.rows import StoredTransaction
from devnet.chain.verdicts import RejectionError
from devnet.chain.web import (
    chain,
    faucet,
    faults,
    json_text,
    query_whole,
    read_json,
    require_txid,
)

blueprint = Blueprint("control", __name__, url_prefix="/control")

MAX_BLOCKS = 1000
_Json = dict[str, Any]


@blueprint.errorhandler(ChainRequestError)
@blueprint.errorhandler(InvalidFaultError)
@blueprint.errorhandler(InvalidAddressError)
@blueprint.errorhandler(RejectionError)
def refuse_request(error: Exception) -> Response:
    """Answer 400 with the reason."""
    return json_text({"error": str(error)}, 400)


def _read_body() -> _Json:
    body = read_json()
    if not isinstance(body, dict):
        raise ChainRequestError("The body is a JSON object.")
    return body


def _whole(body: _Json, name: str, default: int | None, high: int) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= high:
        raise ChainRequestError(f"{name} is a whole number from 1 to {high}.")
    return value


def _txids(value: object, name: str) -> list[str]:
    if not isinstance(value, list) or not all(is_txid(txid) for txid in value):
        raise ChainRequestError(f"{name} is a list of txids, 64 lower-case hex characters each.")
    return value


@blueprint.get("/health")
def get_health() -> Response:
    """Tell that the chain is up."""
    return json_text(
        {"status": "ok", "height": chain().tip.height, "faucetAddress": faucet().address}
    )


@blueprint.post("/mine")
def mine() -> Response:
    """Mine `blocks` blocks, the first of which takes the mempool."""
    mined = chain().mine(_whole(_read_body(), "blocks", 1, MAX_BLOCKS))
    return json_text({"blocks": [block.block_hash for block in mined], "height": mined[-1].height})


@blueprint.post("/fund")
def fund() -> Response:
    """Pay `outputs` outputs of `satoshis` to `address`."""
    body = _read_body()
    address = parse_address(body.get("address"), NETWORK)  # type: ignore[arg-type]
    satoshis = _whole(body, "satoshis", None, 1 << 60)
    txid, vouts = faucet().fund(address, satoshis, _whole(body, "outputs", 1, 1 << 60))
    return json_text({"txid": txid, "vouts": vouts})


@blueprint.post("/reorg")
def reorganise() -> Response:
    """Replace the last `depth` blocks by empty ones; `drop` and its descendants are forgotten."""
    body = _read_body()
    depth = _whole(body, "depth", None, 1 << 60)
    done = chain().reorganise(depth, _txids(body.get("drop") or [], "drop"))
    return json_text(
        {
            "height": done.height,
            "blocks": done.blocks,
            "stale": done.stale_blocks,
            "returned": done.returned,
            "dropped": done.dropped,
        }
    )


@blueprint.post("/evict")
def evict() -> Response:
    """Take `txids`, all without any, out of the mempool, with what spends them."""
    txids = _read_body().get("txids")
    evicted = chain().evict(None if txids is None else _txids(txids, "txids"))
    return json_text({"evicted": evicted})


@blueprint.get("/faults")
def list_faults() -> Response:
    """Answer the faults in force and what is left of each."""
    return json_text({"faults": faults().to_json()})


@blueprint.post("/faults")
def add_faults() -> Response:
    """Put `faults` in force, behind those that are."""
    described = _read_body().get("faults")
    if not isinstance(described, list):
        raise InvalidFaultError("faults is a list of faults.")
    faults().add([Fault.from_json(each) for each in described])
    return list_faults()


@blueprint.delete("/faults")
def clear_faults() -> Response:
    """Behave from now on."""
    faults().clear()
    return list_faults()


def _transaction_json(stored: StoredTransaction) -> _Json:
    return {
        "txid": stored.txid,
        "hex": stored.raw.hex(),
        "block_height": stored.height,
        "confirmations": chain().confirmations(stored.height),
    }


@blueprint.get("/transactions")
def list_transactions() -> Response:
    """List what was mined from `since_height` on and the mempool; no coinbases."""
    with chain().store.lock:
        since_height = query_whole("since_height", 0, 0, 1 << 32)
        found = chain().store.list_transactions_since(since_height)
        return json_text({"transactions": [_transaction_json(stored) for stored in found]})


@blueprint.get("/tx/<txid>")
def get_transaction(txid: str) -> Response:
    """Answer one transaction."""
    with chain().store.lock:
        stored = chain().store.find_transaction(require_txid(txid))
        if stored is None:
            return json_text({"error": "The chain does not know this transaction."}, 404)
        return json_text(_transaction_json(stored))


@blueprint.get("/stats")
def get_stats() -> Response:
    """Count what the process was handed, and what the chain holds."""
    counters = chain().mempool.counters
    with chain().store.lock:
        return json_text(
            {
                "accepted": counters.accepted,
                "rejected": counters.rejected,
                "duplicates": counters.duplicates,
                "mempool": chain().store.mempool_size(),
                "height": chain().tip.height,
            }
        )
