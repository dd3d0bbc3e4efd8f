"""Follows accepted transactions until they are buried: mined, proven, final.

A block counts only with a merkle path that leads to the root of a header with proof of work. After
a reorganisation a transaction is proven again; one that the mempools dropped is sent again, the
same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from app import extensions
from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.headers import POW_LIMIT_BITS
from app.bitcoin.merkle import MerklePath
from app.clients.chain_types import ChainStatus, HeaderAt
from app.clients.outcomes import ClientError, UnexpectedAnswerError
from app.domain.clock import utc_now
from app.domain.states import TransactionEvent, TransactionStatus
from app.logs import chain_event
from app.models.setting import CHAIN_TIP, Setting
from app.models.transaction import ChainTransaction, MerkleProofField
from app.services import delivery

logger = logging.getLogger(__name__)

_LIMIT = 500


@dataclass(frozen=True)
class TrackingReport:
    """How many transactions were looked at, and what became of them."""

    checked: int = 0
    mined: int = 0
    final: int = 0
    reorganised: int = 0
    resent: int = 0


def track() -> TrackingReport:
    """Asks the chain about every settled transaction that is due.

    Raises:
        ServiceUnavailableError: the chain service is away; nothing changes.
    """
    chain = extensions.get().chain
    due = _list_due()
    tip = chain.get_chain_info().tip_height
    Setting.put(CHAIN_TIP, tip)
    if not due:
        return TrackingReport()
    statuses = chain.list_transaction_statuses([t.txid for t in due])
    headers: dict[str, HeaderAt] = {}
    outcomes = [_look_at(t, statuses.get(t.txid), tip, headers) for t in due]
    report = TrackingReport(
        checked=len(due),
        mined=outcomes.count("mined"),
        final=outcomes.count("final"),
        reorganised=outcomes.count("reorganised"),
        resent=outcomes.count("resent"),
    )
    logger.info("tracked", extra={"event": "tracking", "tip_height": tip, **asdict(report)})
    return report


def _list_due() -> Sequence[ChainTransaction]:
    due = ChainTransaction.list_due(
        [TransactionStatus.ACCEPTED, TransactionStatus.MINED], utc_now(), _LIMIT
    )
    return [transaction for transaction in due if transaction.settled_at is not None]


def _look_at(
    transaction: ChainTransaction,
    status: ChainStatus | None,
    tip: int,
    headers: dict[str, HeaderAt],
) -> str:
    if status is None:
        # Nothing clear was said about it, which says nothing.
        _look_again(transaction)
        return "waiting"
    try:
        return _step(transaction, status, tip, headers)
    except ClientError as error:
        # It goes behind the others, whose answers may be better.
        _look_again(transaction)
        if not isinstance(error, UnexpectedAnswerError):
            raise
        logger.warning("tracking waits: %s", error, extra=chain_event("waiting", transaction.txid))
        return "waiting"


def _step(
    transaction: ChainTransaction, status: ChainStatus, tip: int, headers: dict[str, HeaderAt]
) -> str:
    if status.kind == "mined":
        return _mined(transaction, status, tip, headers)
    if transaction.status == TransactionStatus.MINED:
        _move(transaction, TransactionEvent.REORGANISED, unset__proof=True)
        return "reorganised"
    if status.kind == "unknown":
        return _send_again(transaction)
    _look_again(transaction)
    return "waiting"


def _mined(
    transaction: ChainTransaction, status: ChainStatus, tip: int, headers: dict[str, HeaderAt]
) -> str:
    proof = transaction.proof
    if proof is None or proof.block_hash != status.block_hash:
        proof = _prove(transaction, headers)
        if proof is None:
            _look_again(transaction)
            return "waiting"
        _move(transaction, TransactionEvent.MINED, set__proof=proof)
        logger.info(
            "transaction mined",
            extra=chain_event(
                "mined",
                transaction.txid,
                block_height=proof.block_height,
                request_ids=list(transaction.request_ids),
            ),
        )
        return "mined"
    confirmations = tip - proof.block_height + 1
    if confirmations >= extensions.get().settings.final_confirmations:
        ChainTransaction.move_all(
            [transaction.id], TransactionEvent.BURIED, unset__next_attempt_at=True
        )
        return "final"
    _look_again(transaction)
    return "waiting"


def _prove(transaction: ChainTransaction, headers: dict[str, HeaderAt]) -> MerkleProofField | None:
    """Fetches the path and checks it against its header; None, and a log line, where it fails."""
    chain = extensions.get().chain
    tsc = chain.find_proof(transaction.txid)
    if tsc is None:
        return None
    if tsc.block_hash not in headers:
        headers[tsc.block_hash] = chain.get_header(tsc.block_hash)
    at = headers[tsc.block_hash]
    limit = POW_LIMIT_BITS[extensions.get().settings.woc_network]
    try:
        path = MerklePath.from_tsc(at.height, transaction.txid, tsc.index, tsc.nodes)
        is_proven = path.root(transaction.txid) == at.header.merkle_root
    except BitcoinFormatError as error:
        logger.warning("merkle path can't be read: %s", error)
        is_proven = False
    if not is_proven or not at.header.has_proof_of_work(limit):
        logger.warning("merkle proof refused", extra=chain_event("proof_refused", transaction.txid))
        return None
    return MerkleProofField(
        block_hash=at.block_hash,
        block_height=at.height,
        tx_index=tsc.index,
        merkle_path=path.to_bytes(),
        block_header=at.header.to_bytes(),
    )


def _send_again(transaction: ChainTransaction) -> str:
    outcome = delivery.send([transaction])[transaction.txid]
    logger.warning(
        "transaction was dropped, sent again",
        extra=chain_event("sent", transaction.txid, outcome=outcome.status.value),
    )
    _look_again(transaction)
    return "resent"


def _move(transaction: ChainTransaction, event: TransactionEvent, **changes: object) -> None:
    interval = timedelta(seconds=extensions.get().settings.track_interval_seconds)
    ChainTransaction.objects(id=transaction.id).transition(
        event, set__next_attempt_at=utc_now() + interval, **changes
    )


def _look_again(transaction: ChainTransaction) -> None:
    interval = timedelta(seconds=extensions.get().settings.track_interval_seconds)
    ChainTransaction.objects(id=transaction.id, status=transaction.status).update_one(
        set__next_attempt_at=utc_now() + interval
    )
