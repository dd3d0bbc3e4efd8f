"""WhatsOnChain: what belongs to an address or a script hash."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from app.bitcoin.addresses import parse_address
from app.bitcoin.errors import InvalidAddressError
from app.bitcoin.hashes import is_txid
from app.bitcoin.scripts import script_hash
from devnet.chain import coins
from devnet.chain.faucet import NETWORK
from devnet.chain.rows import StoredOutput
from devnet.chain.web import chain, json_text, query_whole, read_member, refuse, take_fault

blueprint = Blueprint("woc_addresses", __name__)

MAX_SUBJECTS = 20
ALL_PAGE = 1000
MAX_UNCONFIRMED = 100_000
BULK_CONFIRMED, BULK_UNCONFIRMED = 20, 100
_SUBJECT = "/<any(address, script):kind>/<name>"
_BULK = "/<any(addresses, scripts):kind>"
_Json = dict[str, Any]


def _script_of(kind: str, name: object) -> str:
    """Return the script hash that an address or script hash stands for; 400 for neither."""
    if kind.startswith("script"):
        if not is_txid(name):
            refuse(400, "script must be 64 hex characters in length")
        return str(name)
    try:
        address = parse_address(name, NETWORK)  # type: ignore[arg-type]
    except InvalidAddressError as error:
        refuse(400, f"invalid address: {error}")
    return script_hash(address.locking_script())


def _head(kind: str, name: object, script: str) -> _Json:
    return {"script": script} if kind.startswith("script") else {"address": name, "script": script}


def _wrap(head: _Json, result: list[_Json] | None, next_token: str = "") -> _Json:
    wrapped = {**head, "result": result, "error": ""}
    return wrapped | {"nextPageToken": next_token} if next_token else wrapped


def _output_json(output: StoredOutput) -> _Json:
    height = {} if output.height is None else {"height": output.height}
    return (
        height
        | {
            "tx_pos": output.vout,
            "tx_hash": output.txid,
            "value": output.satoshis,
            "isSpentInMempoolTx": output.is_spent_in_mempool,
        }
        | ({"hex": output.script.hex()} if output.height is None else {})
    )


def _visible(outputs: list[StoredOutput]) -> list[_Json]:
    """Return the outputs' JSON, less those that a fault hides."""
    fault = take_fault("hide_outputs")
    if fault is not None:
        hidden = set(fault.outpoints)
        outputs = [each for each in outputs if hidden and f"{each.txid}:{each.vout}" not in hidden]
    return [_output_json(each) for each in outputs]


def _confirmed_page(script: str, limit: int) -> coins.OutputPage:
    try:
        token = request.args.get("token", "")
        return coins.page_confirmed_unspent(chain().store, script, limit, token)
    except ValueError:
        refuse(400, "invalid token")


@blueprint.get(f"{_SUBJECT}/unspent/all")
def unspent_all(kind: str, name: str) -> Response:
    """List unconfirmed outputs on the first page, confirmed ones 1000 a page."""
    script = _script_of(kind, name)
    with chain().store.lock:
        page = _confirmed_page(script, ALL_PAGE)
        fresh: list[StoredOutput] = []
        if not request.args.get("token"):
            fresh = coins.list_unconfirmed_unspent(chain().store, script, MAX_UNCONFIRMED)
    result = _visible([*fresh, *page.outputs])
    for entry in result:
        entry["status"] = "confirmed" if "height" in entry else "unconfirmed"
    return json_text(_wrap(_head(kind, name, script), result, page.next_token))


@blueprint.get(f"{_SUBJECT}/confirmed/unspent")
def confirmed_unspent(kind: str, name: str) -> Response:
    """List mined outputs that no block spends."""
    script = _script_of(kind, name)
    page = _confirmed_page(script, query_whole("limit", 10_000, 1, 10_000))
    return json_text(_wrap(_head(kind, name, script), _visible(page.outputs), page.next_token))


@blueprint.get(f"{_SUBJECT}/unconfirmed/unspent")
def unconfirmed_unspent(kind: str, name: str) -> Response:
    """List outputs of the mempool."""
    script = _script_of(kind, name)
    outputs = coins.list_unconfirmed_unspent(chain().store, script, MAX_UNCONFIRMED)
    return json_text(_wrap(_head(kind, name, script), _visible(outputs)))


def _bulk(kind: str, read: Callable[[_Json, str], _Json]) -> Response:
    """Answer for each address or script hash of the body, in their order."""
    names = read_member(kind)
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_SUBJECTS:
        refuse(400, f"{kind} must be a list of 1 to {MAX_SUBJECTS}")
    scripts = [_script_of(kind, name) for name in names]
    with chain().store.lock:
        answers = [
            read(_head(kind, name, script), script)
            for name, script in zip(names, scripts, strict=True)
        ]
    return json_text(answers)


@blueprint.post(f"{_BULK}/confirmed/unspent")
def bulk_confirmed_unspent(kind: str) -> Response:
    """List up to 20 mined outputs each; null where there are none."""

    def read(head: _Json, script: str) -> _Json:
        page = coins.page_confirmed_unspent(chain().store, script, BULK_CONFIRMED)
        return _wrap(head, _visible(page.outputs) or None, page.next_token)

    return _bulk(kind, read)


@blueprint.post(f"{_BULK}/unconfirmed/unspent")
def bulk_unconfirmed_unspent(kind: str) -> Response:
    """List up to 100 outputs of the mempool each; null where there are none."""

    def read(head: _Json, script: str) -> _Json:
        outputs = coins.list_unconfirmed_unspent(chain().store, script, BULK_UNCONFIRMED + 1)
        token = outputs[BULK_UNCONFIRMED].txid if len(outputs) > BULK_UNCONFIRMED else ""
        return _wrap(head, _visible(outputs[:BULK_UNCONFIRMED]) or None, token)

    return _bulk(kind, read)


@blueprint.get(f"{_SUBJECT}/confirmed/balance")
def confirmed_balance(kind: str, name: str) -> Response:
    """Answer the satoshis in mined outputs that no block spends."""
    script = _script_of(kind, name)
    balance = coins.confirmed_balance(chain().store, script)
    return _balance(_head(kind, name, script), {"confirmed": balance})


@blueprint.get(f"{_SUBJECT}/unconfirmed/balance")
def unconfirmed_balance(kind: str, name: str) -> Response:
    """Answer the satoshis that the mempool adds; below zero where it spends more."""
    script = _script_of(kind, name)
    balance = coins.unconfirmed_balance(chain().store, script)
    return _balance(_head(kind, name, script), {"unconfirmed": balance})


def _balance(head: _Json, balance: _Json) -> Response:
    return json_text({**head, **balance, "error": "", "associatedScripts": []})


@blueprint.get(f"{_SUBJECT}/confirmed/history")
def confirmed_history(kind: str, name: str) -> Response:
    """List mined transactions, the newest first unless asked otherwise; 404 without any."""
    script = _script_of(kind, name)
    order = request.args.get("order", "desc")
    if order not in ("asc", "desc"):
        refuse(400, "order must be asc or desc")
    limit, from_height = query_whole("limit", 100, 1, 1000), query_whole("height", 0, 0, 1 << 32)
    token = request.args.get("token", "")
    try:
        page = coins.page_confirmed_history(
            chain().store,
            script,
            limit,
            is_ascending=order == "asc",
            from_height=from_height,
            token=token,
        )
    except ValueError:
        refuse(400, "invalid token")
    if not page.entries and not token:
        refuse(404, "Not Found")
    return json_text(_wrap(_head(kind, name, script), _mined(page), page.next_token))


def _mined(page: coins.HistoryPage) -> list[_Json]:
    return [{"tx_hash": txid, "height": height} for txid, height in page.entries]


@blueprint.get(f"{_SUBJECT}/unconfirmed/history")
def unconfirmed_history(kind: str, name: str) -> Response:
    """List transactions of the mempool; 404 without any."""
    script = _script_of(kind, name)
    txids = coins.list_unconfirmed_history(chain().store, script, MAX_UNCONFIRMED)
    if not txids:
        refuse(404, "Not Found")
    return json_text(_wrap(_head(kind, name, script), [{"tx_hash": txid} for txid in txids]))


@blueprint.post(f"{_BULK}/confirmed/history")
def bulk_confirmed_history(kind: str) -> Response:
    """List up to 20 mined transactions each."""

    def read(head: _Json, script: str) -> _Json:
        page = coins.page_confirmed_history(chain().store, script, BULK_CONFIRMED)
        return _wrap(head, _mined(page) or None, page.next_token)

    return _bulk(kind, read)


@blueprint.post(f"{_BULK}/unconfirmed/history")
def bulk_unconfirmed_history(kind: str) -> Response:
    """List up to 100 transactions of the mempool each."""

    def read(head: _Json, script: str) -> _Json:
        txids = coins.list_unconfirmed_history(chain().store, script, BULK_UNCONFIRMED)
        return _wrap(head, [{"tx_hash": txid} for txid in txids] or None)

    return _bulk(kind, read)
