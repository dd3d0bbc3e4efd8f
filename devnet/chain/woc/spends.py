"""WhatsOnChain: who spent an output."""

from typing import Any

from flask import Blueprint, Response

from app.bitcoin.errors import InvalidTransactionError
from app.bitcoin.transactions import Outpoint
from devnet.chain.rows import StoredOutput
from devnet.chain.web import chain, json_text, read_member, read_whole, refuse, require_txid

blueprint = Blueprint("woc_spends", __name__)

MAX_UTXOS = 20


def _spend_json(output: StoredOutput) -> dict[str, Any]:
    status = "unconfirmed" if output.spent_height is None else "confirmed"
    return {"txid": output.spent_by, "vin": output.spent_vin, "status": status}


@blueprint.get("/tx/<txid>/<vout>/spent")
@blueprint.get("/tx/<txid>/<vout>/<any(confirmed, unconfirmed):status>/spent")
def get_spend(txid: str, vout: str, status: str = "") -> Response:
    """Answer the spending input; 404 for an unspent output and 400 for an unknown one."""
    index = read_whole(vout)
    if index is None or index > 0xFFFFFFFF:
        refuse(400, "Bad Request")
    output = chain().store.find_output(Outpoint(require_txid(txid), index))
    if output is None:
        refuse(400, "Bad Request")
    spend = _spend_json(output)
    if output.spent_by is None or status not in ("", spend["status"]):
        refuse(404, "Not Found")
    return json_text(spend)


@blueprint.post("/utxos/spent")
def list_spends() -> Response:
    """Answer the spending inputs of up to 20 outputs."""
    utxos = read_member("utxos")
    if not isinstance(utxos, list) or not 1 <= len(utxos) <= MAX_UTXOS:
        refuse(400, f"utxos must be a list of 1 to {MAX_UTXOS}")
    outpoints = [_read_outpoint(utxo) for utxo in utxos]
    with chain().store.lock:
        return json_text([_spend_of(outpoint) for outpoint in outpoints])


def _read_outpoint(value: object) -> Outpoint:
    vout = value.get("vout") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(vout, int):
        refuse(400, "utxos must be objects of txid and vout")
    try:
        return Outpoint(require_txid(value.get("txid")), int(vout))
    except InvalidTransactionError:
        refuse(400, "vout is out of range")


def _spend_of(outpoint: Outpoint) -> dict[str, Any]:
    output = chain().store.find_output(outpoint)
    utxo = {"txid": outpoint.txid, "vout": outpoint.vout}
    if output is None:
        return {"utxo": utxo, "error": "unknown"}
    spent_in = None if output.spent_by is None else _spend_json(output)
    return {"utxo": utxo, "spentIn": spent_in, "error": ""}
