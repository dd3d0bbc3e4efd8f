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
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum

from app import extensions
from app.clients.chain_types import HeaderAt
from app.clients.outcomes import ServiceUnavailableError
from app.domain.clock import utc_now
from app.domain.records import SALT_BYTES, RecordKind
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
    # Whoever tracks reads without the records.
    transaction = ChainTransaction.objects(id=transaction.id).get()
    try:
        shown = evidence.gather(transaction)
        heights = _list_heights(set(shown.spent_elsewhere.values()))
    except ServiceUnavailableError as error:
        logger.warning(
            "no evidence: %s",
            error,
            extra=chain_event("sent", transaction.txid, request_ids=list(transaction.request_ids)),
        )
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
    logger.critical(
        reason,
        extra=chain_event(
            "contested",
            transaction.txid,
            rival=txid,
            request_ids=list(transaction.request_ids),
        ),
    )
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
    obstacles = _send_back(transaction)
    if _Obstacle.STUCK in obstacles:
        _alarm(transaction)
    elif heirs or obstacles:
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


class _Obstacle(StrEnum):
    """What keeps a record from being sent back: something that ends, or something for a person."""

    ENDING = "ending"
    STUCK = "stuck"


def _send_back(transaction: ChainTransaction) -> set[_Obstacle]:
    """Moves patches' heads back and has the records wait for a new anchor; answers what is in the
    way of the others.

    A record has to stay while a transfer continues it. One that nobody has claimed fails; one whose
    transaction is dead or unsettled comes to that; one that may be on the chain is for a person. So
    is a record of which parts were erased for somebody who asked for that.

    As many queries for a thousand records of a batch as for one.
    """
    mine = AuthenticationRecord.list_carried(transaction.id)
    carried = [each for each in transaction.records if each.record_id in mine]
    in_the_way = _end_successors([each.head for each in carried])
    previous = AuthenticationRecord.find_by_heads(
        [each.prev_head for each in carried if each.kind != RecordKind.REGISTRATION]
    )
    free, obstacles = [], set()
    for each in carried:
        obstacle = in_the_way.get(each.head) or _find_obstacle(
            each, mine[each.record_id], previous.get(each.prev_head)
        )
        if obstacle is None:
            free.append(each)
        else:
            obstacles.add(obstacle)
    PatchState.retreat_each((each, previous.get(each.prev_head)) for each in free)
    # A new salt makes another digest, and a head that nobody has ever been told.
    salts = {each.record_id: os.urandom(SALT_BYTES) for each in free}
    AuthenticationRecord.return_contradicted(salts, transaction.id, reason=_WORDS)
    return obstacles


def _find_obstacle(
    carried: AnchoredField, record: AuthenticationRecord, previous: AuthenticationRecord | None
) -> _Obstacle | None:
    if carried.kind != RecordKind.REGISTRATION and (previous is None or previous.owner is None):
        return _Obstacle.STUCK
    # What is left of an erased one can't be signed a second time.
    return _Obstacle.STUCK if record.erased else None


def _end_successors(heads: Sequence[str]) -> dict[str, _Obstacle]:
    """Fails the transfers of these heads that nobody has claimed; answers for the others, by head,
    whether they are on the way to an end that frees the head."""
    successors = AuthenticationRecord.find_successors(heads)
    if not successors:
        return {}
    AuthenticationRecord.fail_all_unclaimed([each.id for each in successors.values()], GONE)
    left = AuthenticationRecord.find_successors(list(successors))
    statuses = ChainTransaction.find_statuses([each.transaction_id for each in left.values()])
    return {head: _judge(each, statuses.get(each.transaction_id)) for head, each in left.items()}


def _judge(successor: AuthenticationRecord, carrier_status: str | None) -> _Obstacle:
    is_ending = successor.status == RecordStatus.PENDING or carrier_status in (
        None,
        *TRANSACTION_DEAD,
    )
    return _Obstacle.ENDING if is_ending else _Obstacle.STUCK


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
