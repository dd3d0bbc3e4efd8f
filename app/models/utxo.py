"""One output that we own or owned, and the only ways in which it is locked, freed and spent.

The rule for freeing a locked output:
- not held: its lease is over and it is still not held (`release_expired`), or its own attempt gives
  it back before anything was persisted (`release_unheld`);
- held: only by the verdict on its transaction (`release_dead`). Age is never a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from bson import ObjectId
from mongoengine import BooleanField, DateTimeField, IntField, LongField, ObjectIdField, StringField
from pymongo import UpdateOne

from app.bitcoin.transactions import Outpoint, TxOutput
from app.domain.clock import utc_now
from app.domain.lots import Stretch, new_lot
from app.domain.states import UTXO_MOVES, UtxoEvent, UtxoStatus
from app.models.base import StatefulDocument


@dataclass(frozen=True)
class NewUtxo:
    """An output of ours as it enters the pool."""

    outpoint: Outpoint
    satoshis: int
    locking_script: bytes
    key_identifier: str
    address: str
    is_spendable: bool
    block_height: int | None = None


class Utxo(StatefulDocument):
    """An output of ours. Its `_id` is its outpoint, `txid:vout`, so none exists twice."""

    outpoint = StringField(primary_key=True)
    satoshis = LongField(required=True)
    # Random, for life: a stretch of lots is a fair sample of the pool. Old outputs may have none.
    lot = IntField()
    locking_script = StringField(required=True)
    key_identifier = StringField(required=True)
    address = StringField(required=True)
    status = StringField(required=True)
    lock_id = ObjectIdField()
    locked_at = DateTimeField()
    held = BooleanField(default=False)
    spent_txid = StringField()
    block_height = IntField()
    created_at = DateTimeField(default=utc_now)
    updated_at = DateTimeField(default=utc_now)

    moves: ClassVar = UTXO_MOVES
    meta: ClassVar[dict[str, Any]] = {
        "collection": "utxos",
        "indexes": [
            ["status", "key_identifier", "-satoshis"],
            ["status", "key_identifier", "lot"],
            {"fields": ["lock_id"], "sparse": True},
        ],
    }

    @property
    def point(self) -> Outpoint:
        return Outpoint.from_text(self.outpoint)

    @property
    def output(self) -> TxOutput:
        return TxOutput(self.satoshis, bytes.fromhex(self.locking_script))

    @classmethod
    def ensure_indexes(cls) -> None:
        """Builds the indexes, and gives live outputs from before there were lots one each."""
        super().ensure_indexes()
        collection = cls._get_collection()
        lacking = {"status": {"$in": list(_LIVE)}, "lot": None}
        outpoints = [row["_id"] for row in collection.find(lacking, {"_id": True})]
        for start in range(0, len(outpoints), _FILLED_AT_ONCE):
            collection.bulk_write(
                [
                    UpdateOne({"_id": outpoint, "lot": None}, {"$set": {"lot": new_lot()}})
                    for outpoint in outpoints[start : start + _FILLED_AT_ONCE]
                ],
                ordered=False,
            )

    @classmethod
    def list_stretch(cls, key_identifier: str, lots: Stretch, limit: int) -> list[Utxo]:
        """Lists spendable outputs of a key whose lots are in a stretch.

        Equality on all fields of an index but the last, and both ends of that one: every server
        reads what it answers and no more.
        """
        mine = cls.objects(
            status=UtxoStatus.AVAILABLE.value,
            key_identifier=key_identifier,
            lot__gte=lots.first,
            lot__lt=lots.end,
        )
        return list(mine.limit(limit).batch_size(limit))

    @classmethod
    def list_available(
        cls, key_identifier: str, limit: int, covering: int | None = None
    ) -> list[Utxo]:
        """Lists spendable outputs of a key, largest first.

        With `covering`, the smallest first of those that hold so many satoshis, where there are
        any. Some servers read the whole pool for it.
        """
        mine = cls.objects(status=UtxoStatus.AVAILABLE.value, key_identifier=key_identifier)
        mine = mine.limit(limit).batch_size(limit)
        if covering is not None:
            fitting = list(mine.filter(satoshis__gte=covering).order_by("satoshis"))
            if fitting:
                return fitting
        return list(mine.order_by("-satoshis"))

    @classmethod
    def count_available(cls, key_identifier: str, *, at_least: int = 0, limit: int = 0) -> int:
        """Counts the spendable outputs of a key that hold `at_least` so many satoshis.

        With `limit` it stops counting there.
        """
        mine = cls.objects(
            status=UtxoStatus.AVAILABLE.value,
            key_identifier=key_identifier,
            satoshis__gte=at_least,
        )
        return int(mine.limit(limit).count(with_limit_and_skip=True))

    @classmethod
    def list_dust(cls, key_identifier: str, *, below: int, limit: int) -> list[Utxo]:
        """Lists spendable outputs of a key that hold less than `below` satoshis, smallest first."""
        return list(
            cls.objects(
                status=UtxoStatus.AVAILABLE.value,
                key_identifier=key_identifier,
                satoshis__lt=below,
            )
            .order_by("satoshis")
            .limit(limit)
            .batch_size(limit)
        )

    @classmethod
    def list_open(cls, key_identifier: str) -> list[Utxo]:
        """Lists the outputs of a key that are neither locked nor spent."""
        return list(
            cls.objects(
                status__in=[UtxoStatus.UNCONFIRMED.value, UtxoStatus.AVAILABLE.value],
                key_identifier=key_identifier,
            )
        )

    @classmethod
    def find_all(cls, outpoints: Sequence[str]) -> dict[str, Utxo]:
        """Answers those of these outputs that are known, by outpoint."""
        if not outpoints:
            return {}
        return {utxo.outpoint: utxo for utxo in cls.objects(outpoint__in=list(outpoints))}

    @classmethod
    def sum_by_status(
        cls, key_identifier: str, statuses: Iterable[str] = tuple(UtxoStatus)
    ) -> dict[str, tuple[int, int]]:
        """Answers how many outputs of a key there are in each of these states, and their satoshis.

        Reads as many as there are: states in which they stay for ever grow with time.
        """
        # One query a state: not every server uses an index for any of several values.
        total = [{"$group": {"_id": None, "count": {"$sum": 1}, "sum": {"$sum": "$satoshis"}}}]
        sums = {}
        for status in statuses:
            mine = cls.objects(status=str(status), key_identifier=key_identifier)
            for group in mine.aggregate(total):
                sums[str(status)] = (int(group["count"]), int(group["sum"]))
        return sums

    @classmethod
    def lock_each(cls, wanted: Mapping[str, ObjectId], now: datetime) -> dict[str, ObjectId]:
        """Locks outputs (outpoint -> lock id); answers those that were won."""
        won = cls.transition_each(
            UtxoEvent.LOCKED,
            (
                ({"_id": outpoint}, {"$set": {"lock_id": lock_id, "locked_at": now, "held": False}})
                for outpoint, lock_id in wanted.items()
            ),
        )
        if won == len(wanted):
            return dict(wanted)
        mine = cls.objects(lock_id__in=list(set(wanted.values()))).only("outpoint", "lock_id")
        return {utxo.outpoint: utxo.lock_id for utxo in mine if utxo.outpoint in wanted}

    @classmethod
    def hold_each(cls, wanted: Mapping[str, ObjectId]) -> set[str]:
        """Makes locks permanent (outpoint -> lock id); answers the outpoints that are held so now.

        An output that was reaped or locked by another transaction meanwhile is not among them.
        """
        won = cls.transition_each(
            UtxoEvent.HELD,
            (
                ({"_id": outpoint, "lock_id": lock_id, "held": False}, {"$set": {"held": True}})
                for outpoint, lock_id in wanted.items()
            ),
        )
        if won == len(wanted):
            return set(wanted)
        held = cls.objects(lock_id__in=list(set(wanted.values())), held=True)
        return {
            utxo.outpoint
            for utxo in held.only("outpoint", "lock_id")
            if wanted.get(utxo.outpoint) == utxo.lock_id
        }

    @classmethod
    def release_unheld(cls, lock_ids: Sequence[ObjectId]) -> int:
        """Gives back the outputs of attempts that were never persisted."""
        return int(
            cls.objects(lock_id__in=list(lock_ids), held=False).transition(
                UtxoEvent.RELEASED, **_UNLOCK
            )
        )

    @classmethod
    def release_expired(cls, outpoint: str, lock_id: ObjectId, locked_before: datetime) -> bool:
        """Frees one output whose lease is over, on condition that it is still not held."""
        return bool(
            cls.objects(
                outpoint=outpoint, lock_id=lock_id, held=False, locked_at__lte=locked_before
            ).transition(UtxoEvent.RELEASED, **_UNLOCK)
        )

    @classmethod
    def release_dead(cls, transaction_id: ObjectId) -> int:
        """Frees what a rejected or abandoned transaction had locked, held or not."""
        return int(cls.objects(lock_id=transaction_id).transition(UtxoEvent.RELEASED, **_UNLOCK))

    @classmethod
    def suspect(cls, transaction_id: ObjectId, outpoints: Sequence[str]) -> int:
        """Sets aside what a dead transaction had locked, until a sync has compared it."""
        mine = cls.objects(lock_id=transaction_id, outpoint__in=list(outpoints))
        return int(mine.transition(UtxoEvent.SUSPECTED, **_UNLOCK)) if outpoints else 0

    @classmethod
    def spend_each(cls, spends: Iterable[tuple[str, ObjectId, str]]) -> int:
        """Marks held outputs spent: (outpoint, lock id, txid of the spending transaction)."""
        return cls.transition_each(
            UtxoEvent.SPENT,
            (
                ({"_id": outpoint, "lock_id": lock_id, "held": True}, _spent_by(txid))
                for outpoint, lock_id, txid in spends
            ),
        )

    @classmethod
    def mark_spent_elsewhere(cls, outpoint: str, lock_id: ObjectId | None, txid: str) -> bool:
        """Marks an output spent by a transaction that is not ours, as the chain shows."""
        return bool(
            cls.objects(outpoint=outpoint, lock_id=lock_id).transition(
                UtxoEvent.SPENT_ELSEWHERE, set__spent_txid=txid
            )
        )

    @classmethod
    def lose_each(cls, spends: Mapping[str, str], txid: str) -> int:
        """Marks outputs as spent by others (outpoint -> txid) that count as spent by our `txid`."""
        return cls.transition_each(
            UtxoEvent.LOST,
            (
                ({"_id": outpoint, "spent_txid": txid}, _spent_by(spender))
                for outpoint, spender in spends.items()
            ),
        )

    @classmethod
    def void_each(cls, outpoints: Sequence[str]) -> int:
        """Strikes outputs out that will never exist, whatever was done with them."""
        return cls.transition_each(
            UtxoEvent.VOIDED, (({"_id": outpoint}, {}) for outpoint in outpoints)
        )

    @classmethod
    def mark_unlocked_spent(cls, spends: Mapping[str, str]) -> int:
        """Marks outputs that nobody has locked as spent (outpoint -> txid of the spender)."""
        return cls.transition_each(
            UtxoEvent.SPENT_ELSEWHERE,
            (
                ({"_id": outpoint, "lock_id": None}, _spent_by(txid))
                for outpoint, txid in spends.items()
            ),
        )

    @classmethod
    def restore_each(cls, wrong_spends: Mapping[str, str]) -> int:
        """Takes back spends that never came to be (outpoint -> txid that was thought to spend it).

        Only for outputs that the chain shows unspent and that no live transaction of ours spends.
        """
        return cls.transition_each(
            UtxoEvent.RESTORED,
            (
                (
                    {"_id": outpoint, "spent_txid": txid},
                    {
                        "$set": {"held": False},
                        "$unset": {"spent_txid": 1, "lock_id": 1, "locked_at": 1},
                    },
                )
                for outpoint, txid in wrong_spends.items()
            ),
        )

    @classmethod
    def mark_unseen(cls, outpoints: Sequence[str]) -> int:
        """Sets aside spendable outputs that the chain does not know any more."""
        return cls.transition_each(
            UtxoEvent.UNSEEN,
            (
                ({"_id": outpoint, "lock_id": None}, {"$unset": {"block_height": 1}})
                for outpoint in outpoints
            ),
        )

    @classmethod
    def add_all(cls, outputs: Iterable[NewUtxo]) -> int:
        """Inserts outputs that are not known yet and leaves known ones as they are."""
        now = utc_now()
        operations = [
            UpdateOne({"_id": str(o.outpoint)}, {"$setOnInsert": _new_row(o, now)}, upsert=True)
            for o in outputs
        ]
        if not operations:
            return 0
        return int(cls._get_collection().bulk_write(operations, ordered=False).upserted_count)

    @classmethod
    def confirm_each(cls, heights: Mapping[str, int | None]) -> int:
        """Makes unconfirmed outputs available (outpoint -> block height, None without a block)."""
        return cls.transition_each(
            UtxoEvent.CONFIRMED,
            (
                ({"_id": outpoint}, {} if height is None else {"$set": {"block_height": height}})
                for outpoint, height in heights.items()
            ),
        )

    @classmethod
    def list_expired_locks(cls, locked_before: datetime, limit: int) -> list[Utxo]:
        """Lists outputs that are locked, not held, and whose lease is over."""
        return list(
            cls.objects(
                status=UtxoStatus.LOCKED.value, held=False, locked_at__lte=locked_before
            ).limit(limit)
        )


_LIVE = (UtxoStatus.UNCONFIRMED.value, UtxoStatus.AVAILABLE.value, UtxoStatus.LOCKED.value)
_FILLED_AT_ONCE = 1_000
_UNLOCK = {"set__held": False, "unset__lock_id": True, "unset__locked_at": True}


def _spent_by(txid: str) -> dict[str, Any]:
    return {"$set": {"spent_txid": txid}}


def _new_row(output: NewUtxo, now: datetime) -> dict[str, Any]:
    status = UtxoStatus.AVAILABLE if output.is_spendable else UtxoStatus.UNCONFIRMED
    row = {
        "satoshis": output.satoshis,
        "lot": new_lot(),
        "locking_script": output.locking_script.hex(),
        "key_identifier": output.key_identifier,
        "address": output.address,
        "status": status.value,
        "held": False,
        "created_at": now,
        "updated_at": now,
    }
    if output.block_height is not None:
        row["block_height"] = output.block_height
    return row
