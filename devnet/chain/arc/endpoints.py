"""ARC's paths."""

import time
from typing import Any

from flask import Blueprint, Response, request

from app.bitcoin.merkle import MerklePath
from app.bitcoin.transactions import Transaction
from devnet.chain.arc.ledger import MINED, ORPHAN, Ledger, Standing
from devnet.chain.arc.problems import ProblemError
from devnet.chain.arc.requests import (
    SubmitOptions,
    read_options,
    read_transaction,
    read_transactions,
)
from devnet.chain.arc.validation import validate, with_spent_outputs
from devnet.chain.rules import MAX_TRANSACTION_BYTES
from devnet.chain.web import chain, find_place, json_text, take_fault

blueprint = Blueprint("arc", __name__, url_prefix="/arc/v1")

_Json = dict[str, Any]


@blueprint.errorhandler(ProblemError)
def refuse(problem: ProblemError) -> Response:
    """Answer a problem object under its own status."""
    return json_text(problem.to_json(), problem.status)


def timestamp() -> str:
    """Return the current time in RFC 3339 with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


def _standing_json(txid: str, standing: Standing) -> _Json:
    place = find_place(txid) if standing.status == MINED else None
    shown: _Json = {
        "blockHash": "",
        "blockHeight": 0,
        "competingTxs": list(standing.competing) or None,
        "extraInfo": standing.extra_info,
        "merklePath": "",
        "timestamp": timestamp(),
        "txStatus": standing.status,
        "txid": txid,
    }
    if place is not None:
        height = place.block.height
        path = MerklePath.from_branch(height, txid, place.tx_index, place.branch)
        shown |= {
            "blockHash": place.block.block_hash,
            "blockHeight": height,
            "merklePath": path.to_hex(),
        }
    return shown


def _submit(tx: Transaction, options: SubmitOptions) -> _Json:
    """Return the success object of a submission; raises ProblemError."""
    fault = take_fault("false_missing_inputs", "accept_then_missing_inputs")
    if fault is not None and fault.kind == "false_missing_inputs":
        standing = Standing(ORPHAN)
    else:
        standing = _hand_on(tx, options)
    if fault is not None:
        standing = Standing(ORPHAN)
    if options.wait_for == "QUEUED":
        standing = Standing("QUEUED")
    return _standing_json(tx.txid, standing) | {"status": 200, "title": "OK"}


def _hand_on(tx: Transaction, options: SubmitOptions) -> Standing:
    with chain().store.transaction():
        ledger = Ledger(chain())
        # A transaction that ARC has sent before is not looked at again.
        if ledger.find(tx.txid) is None:
            tx = with_spent_outputs(chain().store, tx)
            validate(tx, options, chain().mempool.minimum_satoshis_per_kilobyte)
        return ledger.submit(tx)


@blueprint.post("/tx")
def submit_transaction() -> Response:
    """Submit one transaction; 200 does not mean that it was accepted."""
    options = read_options(request)
    return json_text(_submit(read_transaction(request), options))


@blueprint.post("/txs")
def submit_transactions() -> Response:
    """Submit several; the answer lists the successes, then the failures."""
    options = read_options(request)
    successes, failures = [], []
    for tx in read_transactions(request):
        try:
            successes.append(_submit(tx, options))
        except ProblemError as problem:
            failures.append(problem.to_json())
    return json_text([*successes, *failures])


@blueprint.get("/tx/<txid>")
def get_transaction(txid: str) -> Response:
    """Answer where a transaction stands; 404 for one never submitted here."""
    txid = txid.lower()
    standing = Ledger(chain()).find(txid)
    if standing is None:
        raise ProblemError(404, "transaction not found")
    return json_text(_standing_json(txid, standing))


@blueprint.get("/policy")
def get_policy() -> Response:
    """Answer what the node demands; the fee is `satoshis` for each `bytes`."""
    policy = {
        "maxscriptsizepolicy": MAX_TRANSACTION_BYTES,
        "maxtxsigopscountspolicy": 4_294_967_295,
        "maxtxsizepolicy": MAX_TRANSACTION_BYTES,
        "miningFee": {
            "satoshis": chain().mempool.minimum_satoshis_per_kilobyte,
            "bytes": 1000,
        },
        "standardFormatSupported": True,
    }
    return json_text({"timestamp": timestamp(), "policy": policy})


@blueprint.get("/health")
def get_health() -> Response:
    """Tell that the service is up."""
    return json_text({"healthy": True, "version": "devnet", "reason": None})
