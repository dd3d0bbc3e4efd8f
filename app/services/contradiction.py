"""A transaction that the network had accepted loses to another one in a block.

Nobody but a second holder of our keys can make it happen, so it is an alarm whatever follows. Until
the other one is as deep as what we call final, nothing is undone: a reorganisation could still
bring ours back, and then its records would have two anchors.

Then ours and all that spends from it are `contradicted`, each in one compare-and-set, and undone
step by step; the sweeper repeats that from any point. Records wait for a new anchor, and with it a
new head. A transfer is signed over the head that it continues, so one that continues a head which
is gone can't be anchored anew: while it is pending it fails, and once it may be on the chain it
keeps the record before it from being moved, and a person has to decide.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum

from app import extensions
from app.clients.chain_types import HeaderAt
from app.clients.outcomes import ServiceUnavailableError
from app.domain.clock import utc_now
from app.domain.records import RecordKind
from app.domain.states import (
    TRANSACTION_DEAD,
    TRANSACTION_LIVE,
    RecordStatus,
    TransactionStatus,
)
from app.logs import chain_event
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import AnchoredField, ChainTransaction
from app.models.utxo import Utxo
from app.services import evidence, proofs

logger = logging.getLogger(__name__)

_SOON = timedelta(seconds=10)
_AFTER_A_PERSON = timedelta(hours=1)
_WORDS = "its transaction lost to another one in a block"
_STUCK = (
    "its record can't be anchored anew: a later transfer continues it and may be on the chain, or "
    "parts of it were erased; a person has to decide"
)
GONE = "the record that it continues has lost its transaction: the owner has to sign anew"


def look_at(transaction: ChainTransaction, tip_height: int) -> bool:
    """Looks whether an accepted transaction that was dropped and refused has lost.

    Tells whether it is contested, so that what was noted about it must stay.
    """
    try:
        shown = evidence.gather(transaction)
        heights = _list_heights(set(shown.spent_elsewhere.values()))
    except ServiceUnavailableError as error:
        logger.warning("no evidence: %s", error, extra=chain_event("sent", transaction.txid))
        return False
    if shown.known_txid not in (None, transaction.txid):
        return _note_own_rival(transaction, str(shown.known_txid))
    if not heights:
        return False
    confirmations = tip_height - min(heights.values()) + 1
    needed = extensions.get().settings.final_confirmations
    if confirmations < needed:
        return _note_contest(transaction, shown.spent_elsewhere, confirmations, needed)
    deep = {
        point: txid
        for point, txid in shown.spent_elsewhere.items()
        if txid in heights and tip_height - heights[txid] + 1 >= needed
    }
    return contradict(transaction, deep)


def _list_heights(txids: set[str]) -> dict[str, int]:
    headers: dict[str, HeaderAt] = {}
    found = {txid: proofs.find(txid, headers) for txid in txids}
    return {txid: proof.block_height for txid, proof in found.items() if proof is not None}


def _note_contest(
    transaction: ChainTransaction, spends: Mapping[str, str], confirmations: int, needed: int
) -> bool:
    rivals = ", ".join(sorted(set(spends.values())))
    reason = f"contested by {rivals}, {confirmations} of {needed} blocks deep"
    logger.error(
        "accepted transaction is losing: %s",
        reason,
        extra=chain_event(
            "contested",
            transaction.txid,
            spent_elsewhere=dict(spends),
            confirmations=confirmations,
            record_ids=[str(record.record_id) for record in transaction.records],
        ),
    )
    # Nothing should be built on them; should ours win after all, the next sync takes them back.
    Utxo.mark_unseen(_outpoints(transaction))
    settings = extensions.get().settings
    return ChainTransaction.note_contest(
        transaction.id,
        reason=reason,
        next_attempt_at=utc_now() + timedelta(seconds=settings.track_interval_seconds),
    )


def _note_own_rival(transaction: ChainTransaction, txid: str) -> bool:
    """The network has the bytes that were too cheap: its records are anchored, by another name.

    A second anchor must not be made, and heads that people have signed over are not renamed.
    """
    reason = f"the network has its earlier bytes, {txid}, instead"
    logger.critical(reason, extra=chain_event("contested", transaction.txid, rival=txid))
    return ChainTransaction.note_contest(
        transaction.id,
        reason=reason,
        next_attempt_at=utc_now() + _AFTER_A_PERSON,
        needs_operator=True,
    )


def contradict(transaction: ChainTransaction, conflicts: Mapping[str, str]) -> bool:
    """Ends a transaction whose inputs others have spent (outpoint -> txid), and all that spend it.

    Tells whether it has ended. Nothing happens where a descendant is mined: then it is the evidence
    that is false.
    """
    family = _list_family(transaction)
    buried = [t for t in family if t.status in (TransactionStatus.MINED, TransactionStatus.FINAL)]
    if buried:
        logger.critical(
            "a block holds what spends from a transaction that is said to have lost",
            extra=chain_event("contested", transaction.txid, mined=[t.txid for t in buried]),
        )
        return False
    for each in family:
        _mark(each, conflicts if each.id == transaction.id else {})
    ids = [each.id for each in family]
    dead = list(ChainTransaction.objects(id__in=ids, status=TransactionStatus.CONTRADICTED.value))
    # Before any record is sent back: no transfer may be anchored on a head that is going.
    AuthenticationRecord.contradict_each([each.id for each in dead], reason=_WORDS)
    for each in sorted(dead, key=lambda each: ids.index(each.id), reverse=True):
        undo(each)
    return transaction.id in {each.id for each in dead}


def undo(transaction: ChainTransaction) -> None:
    """Draws the consequences, or as many as can be drawn now; can be repeated from any point."""
    AuthenticationRecord.contradict_each([transaction.id], reason=_WORDS)
    Utxo.void_each(_outpoints(transaction))
    heirs = _list_spenders([transaction])
    for heir in heirs:
        _mark(heir, {})
    _free_inputs(transaction)
    results = {_send_back(transaction, record) for record in transaction.records}
    if _Result.STUCK in results:
        _alarm(transaction)
    elif heirs or _Result.WAITS in results:
        ChainTransaction.wait_undone(transaction.id, next_attempt_at=utc_now() + _SOON, reason=None)
    else:
        ChainTransaction.finish_unwinding(transaction.id)


def _mark(transaction: ChainTransaction, conflicts: Mapping[str, str]) -> None:
    reason = "an input was spent by another transaction in a block, for good"
    if not conflicts:
        reason = "it spends from a transaction that lost to another one in a block"
    if ChainTransaction.contradict(transaction.id, reason=reason, conflicts=conflicts):
        logger.critical(
            "transaction contradicted: %s",
            reason,
            extra=chain_event(
                "contradicted",
                transaction.txid,
                spent_elsewhere=dict(conflicts),
                record_ids=[str(record.record_id) for record in transaction.records],
                request_ids=list(transaction.request_ids),
            ),
        )


def _free_inputs(transaction: ChainTransaction) -> None:
    """What others have spent is theirs; the rest is unspent again, once a sync has seen it."""
    txid = transaction.txid or transaction.dead_txid
    lost = {each.outpoint: each.txid for each in transaction.conflicts}
    Utxo.lose_each(lost, txid)
    for outpoint, spender in lost.items():
        # Still locked where its acceptance was never noted.
        Utxo.mark_spent_elsewhere(outpoint, transaction.id, spender)
    kept = [each.outpoint for each in transaction.inputs if each.outpoint not in lost]
    Utxo.restore_each(dict.fromkeys(kept, txid))
    Utxo.release_dead(transaction.id)


class _Result(StrEnum):
    DONE = "done"
    WAITS = "waits"
    STUCK = "stuck"


def _send_back(transaction: ChainTransaction, carried: AnchoredField) -> _Result:
    """Moves the patch's head back and has the record wait for a new anchor.

    Not while a transfer continues it. One that nobody has claimed fails; one whose transaction is
    dead or unsettled comes to that; one that may be on the chain is for a person. So is a record of
    which parts were erased for somebody who asked for that.
    """
    record = AuthenticationRecord.objects(
        id=carried.record_id, transaction_id=transaction.id
    ).first()
    if record is None or record.status == RecordStatus.FAILED:
        return _Result.DONE
    successor = AuthenticationRecord.find_successor(carried.head)
    if successor is not None and not AuthenticationRecord.fail_unclaimed(successor.id, GONE):
        return _Result.WAITS if _is_ending(successor) else _Result.STUCK
    previous = None
    if carried.kind != RecordKind.REGISTRATION:
        previous = AuthenticationRecord.objects(head=carried.prev_head).first()
        if previous is None or previous.owner is None:
            return _Result.STUCK
    if record.erased:
        # What is left of it can't be signed a second time.
        return _Result.STUCK
    PatchState.retreat(carried, previous)
    AuthenticationRecord.return_contradicted(record.id, transaction.id, reason=_WORDS)
    return _Result.DONE


def _is_ending(record: AuthenticationRecord) -> bool:
    """Its claim or its transaction is on the way to an end that frees it."""
    if record.status == RecordStatus.PENDING:
        return True
    carrier = ChainTransaction.objects(id=record.transaction_id).only("status").first()
    return carrier is None or carrier.status in TRANSACTION_DEAD


def _alarm(transaction: ChainTransaction) -> None:
    txid = transaction.txid or transaction.dead_txid
    logger.critical(
        _STUCK,
        extra=chain_event(
            "needs_operator",
            txid,
            transaction_id=str(transaction.id),
            record_ids=[str(record.record_id) for record in transaction.records],
            uids=[record.uid_tag_id for record in transaction.records],
        ),
    )
    ChainTransaction.wait_undone(
        transaction.id, next_attempt_at=utc_now() + _AFTER_A_PERSON, reason=_STUCK
    )


def _list_family(transaction: ChainTransaction) -> list[ChainTransaction]:
    """The transaction and what spends from it and may be with the network, parents first."""
    family = {transaction.id: transaction}
    level = [transaction]
    while level:
        level = [heir for heir in _list_spenders(level) if heir.id not in family]
        family |= {heir.id: heir for heir in level}
    return list(family.values())


def _list_spenders(transactions: Sequence[ChainTransaction]) -> list[ChainTransaction]:
    """What has locked or spent their outputs, and lives."""
    outputs = Utxo.find_all([point for each in transactions for point in _outpoints(each)])
    ids = {output.lock_id for output in outputs.values() if output.lock_id is not None}
    live = [status.value for status in TRANSACTION_LIVE]
    return list(ChainTransaction.objects(id__in=list(ids), status__in=live)) if ids else []


def _outpoints(transaction: ChainTransaction) -> list[str]:
    txid = transaction.txid or transaction.dead_txid
    return [f"{txid}:{output.vout}" for output in transaction.outputs]
