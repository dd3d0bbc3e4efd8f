"""WhatsOnChain: the chain, its blocks and its fees."""

from typing import Any

from flask import Blueprint, Response

from app.bitcoin.transactions import Transaction
from devnet.chain.rows import StoredBlock
from devnet.chain.web import chain, json_text, query_whole, read_whole, refuse, require_txid
from devnet.chain.woc.shapes import (
    coins_of,
    difficulty_of,
    header_json,
    median_time_of,
    transaction_json,
)

blueprint = Blueprint("woc_blocks", __name__)

MAX_HEADERS, LATEST_FILE = 100, 2000
ALL_TXIDS, FIRST_TXIDS, PAGE_TXIDS = 1000, 100, 50_000


@blueprint.get("/woc")
def get_woc() -> Response:
    """Tell that the service is up."""
    return Response("Whats On Chain", mimetype="text/plain")


@blueprint.get("/chain/info")
def get_chain_info() -> Response:
    """Answer where the chain stands; the tip's height is `blocks`."""
    with chain().store.lock:
        tip = chain().tip
        info = {
            "chain": "test",
            "blocks": tip.height,
            "headers": tip.height,
            "bestblockhash": tip.block_hash,
            "difficulty": difficulty_of(tip.header.bits),
            "mediantime": median_time_of(chain().store, tip),
            "verificationprogress": 1.0,
            "pruned": False,
            "chainwork": f"{tip.chainwork:064x}",
        }
    return json_text(info)


@blueprint.get("/feerecommendation")
def get_fee_recommendation() -> Response:
    """Answer fees in satoshis per 1000 bytes."""
    floor = chain().mempool.minimum_satoshis_per_kilobyte
    return json_text({"fee": floor, "fee_unit": "sat/KB", "mempool_min_fee": floor})


def _require_block(text: str) -> StoredBlock:
    """Return the block of a height or a hash, stale ones by hash only; 404 for neither."""
    height = read_whole(text)
    if height is not None:
        block = chain().store.find_block_at(height)
    else:
        block = chain().store.find_block(require_txid(text))
    if block is None:
        refuse(404, "Not Found")
    return block


def _header(block: StoredBlock) -> dict[str, Any]:
    return header_json(chain().store, block, chain().tip.height)


@blueprint.get("/block/<name>/header")
def get_header(name: str) -> Response:
    """Answer the header of a block by hash or height."""
    with chain().store.lock:
        return json_text(_header(_require_block(name)))


@blueprint.get("/block/headers")
def list_headers() -> Response:
    """Answer the last ten headers, the newest first."""
    with chain().store.lock:
        return json_text([_header(block) for block in chain().store.list_last_blocks(10)])


@blueprint.get("/block/headers/latest")
def get_latest_headers() -> Response:
    """Answer the last headers as 80 bytes each, the oldest first."""
    count = query_whole("count", LATEST_FILE, 1, MAX_HEADERS)
    blocks = reversed(chain().store.list_last_blocks(count))
    raw = b"".join(block.header.to_bytes() for block in blocks)
    return Response(raw, mimetype="application/octet-stream")


@blueprint.get("/block/height/<name>")
@blueprint.get("/block/hash/<name>")
def get_block(name: str) -> Response:
    """Answer a block with its txids: all up to 1000, else the first 100 and pages."""
    with chain().store.lock:
        block = _require_block(name)
        txids = chain().store.list_block_txids(block.height) if block.is_active else []
        coinbase = chain().store.find_transaction(txids[0]) if txids else None
        shown = _header(block)
    shown |= {"txcount": block.tx_count, "totalFees": coins_of(block.fees), "tx": txids}
    if coinbase is not None:
        shown["coinbaseTx"] = transaction_json(Transaction.from_bytes(coinbase.raw), True)
    if len(txids) > ALL_TXIDS:
        count = -(-(len(txids) - FIRST_TXIDS) // PAGE_TXIDS)
        base = f"/block/hash/{block.block_hash}/page"
        shown["tx"] = txids[:FIRST_TXIDS]
        shown["pages"] = {"uri": [f"{base}/{number}" for number in range(1, count + 1)]}
    return json_text(shown)


@blueprint.get("/block/hash/<name>/page/<number>")
def get_block_page(name: str, number: str) -> Response:
    """Answer the txids of a big block that its first 100 left out."""
    block, page = _require_block(name), read_whole(number)
    if not page or not block.is_active:
        refuse(404, "Not Found")
    start = FIRST_TXIDS + (page - 1) * PAGE_TXIDS
    txids = chain().store.list_block_txids(block.height)[start : start + PAGE_TXIDS]
    return json_text(txids) if txids else refuse(404, "Not Found")
