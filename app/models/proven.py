"""Brings rows up to what the chain shows of our own transactions, for a database that came out of a
dump: what happened after it is not in it.

Statuses move along the same events as ever; what differs is on whose word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne

from app.domain.clock import utc_now
from app.domain.states import RecordEvent, RecordStatus, UtxoEvent, UtxoStatus
from app.models.cursors import Row
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo

_BATCH = 500
_ANCHOR = ("head", "txid", "digest", "issuer_signature", "issuer_pubkey")


def doubt_outputs() -> int:
    """Sets every output aside that is free, or locked for a moment, until a sync has seen it.

    In batches, so that no command lasts longer than a connection waits.
    """
    unlock = {"set__held": False, "unset__lock_id": True, "unset__locked_at": True}
    unheld = {"status": UtxoStatus.LOCKED.value, "held__ne": True}
    return _move_all(unheld, UtxoEvent.SUSPECTED, unlock) + _move_all(
        {"status": UtxoStatus.AVAILABLE.value}, UtxoEvent.UNSEEN, {}
    )


def _move_all(which: Mapping[str, Any], event: UtxoEvent, changes: Mapping[str, Any]) -> int:
    moved = 0
    while points := list(Utxo.objects(**which).limit(_BATCH).scalar("outpoint")):
        moved += int(Utxo.objects(outpoint__in=points, **which).transition(event, **changes))
    return moved


def spend(spends: Iterable[tuple[str, ObjectId, str]]) -> int:
    """Marks outputs spent that the chain shows spent by transactions of ours, whoever locked them.

    Each is (outpoint, id of the transaction, its txid).
    """
    return Utxo.transition_each(
        UtxoEvent.SPENT_ELSEWHERE,
        (
            ({"_id": point}, {"$set": {"spent_txid": txid, "lock_id": owner, "held": True}})
            for point, owner, txid in spends
        ),
    )


def bind(transactions: Sequence[ChainTransaction]) -> set[ObjectId]:
    """Binds records that have not ended to the transactions on the chain that carry them.

    Whatever else they were claimed for. Answers the ids of those that are bound now.
    """
    AuthenticationRecord.transition_each(
        RecordEvent.RETURNED,
        (
            (
                {"_id": record.record_id, "transaction_id": {"$ne": transaction.id}},
                {
                    "$set": {"transaction_id": transaction.id, "claimed_at": utc_now()},
                    "$unset": dict.fromkeys(_ANCHOR, 1),
                },
            )
            for transaction in transactions
            for record in transaction.records
        ),
    )
    return AuthenticationRecord.commit_each(transactions)


def forget_records(missing: Mapping[ObjectId, Sequence[ObjectId]]) -> None:
    """Takes records out of transactions (id -> ids of records) that a dump does not have."""
    operations = [
        UpdateOne({"_id": each}, {"$pull": {"records": {"record_id": {"$in": list(ids)}}}})
        for each, ids in missing.items()
    ]
    if operations:
        ChainTransaction._get_collection().bulk_write(operations, ordered=False)


def set_head(uid_tag_id: str, record: Row | None) -> None:
    """Puts a patch to where a confirmed record leaves it; without one there is no patch."""
    if record is None:
        PatchState.objects(uid_tag_id=uid_tag_id).delete()
        return
    PatchState.objects(uid_tag_id=uid_tag_id).update_one(
        set__head=record["head"],
        set__owner=record["owner"],
        set__record_id=record["_id"],
        set__updated_at=utc_now(),
        upsert=True,
    )


def list_unanchored() -> list[AuthenticationRecord]:
    """Lists records that have not ended."""
    waiting = [RecordStatus.PENDING.value, RecordStatus.ANCHORING.value]
    return list(AuthenticationRecord.objects(status__in=waiting))
