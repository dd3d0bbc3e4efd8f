"""The jobs that are killed: what is there before each, and what must be true when all is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count

from bson import ObjectId

from app.bitcoin.transactions import TxInput
from app.domain.clock import utc_now
from app.domain.selection import Need
from app.domain.states import TransactionStatus, UtxoStatus
from app.models.record import AuthenticationRecord
from app.models.setting import FEE_PER_KB, Setting
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.queue import Task, begin
from app.services import pool, pool_sync, tracker
from tests.chaos.processes import ACCEPT, BATCH, Job
from tests.integration.services.lab import Lab, Owner

KEY = "funding"
USEFUL_SATOSHIS = 1000
DUST_SATOSHIS = 700
COINS = 6
COIN_SATOSHIS = 20_000
_serials = count(1)


@dataclass(frozen=True)
class Play:
    """One performance of a job: the job, its patches, what is asked of the end besides.

    `mend` is what the world does after the crash.
    """

    job: Job
    uids: Sequence[str] = ()
    must_end: Callable[[], bool] = field(default=lambda: True)
    mend: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True)
class Stage:
    """How a job is set up, and what follows a crash besides the sweeper and the reaper.

    `is_repeated`: the job runs again, as beat has it. `is_synced`: the pool is synced. `is_alone`:
    a second one could not be set up in the mess that the first one leaves.
    """

    name: str
    prepare: Callable[[Lab], Play]
    is_repeated: bool = False
    is_synced: bool = False
    is_alone: bool = False


def fill(lab: Lab) -> None:
    """Sees to it that the pool has coins enough for some more plays."""
    if Utxo.count_available(KEY, at_least=USEFUL_SATOSHIS) < COINS:
        lab.fill_pool(COINS, COIN_SATOSHIS)


def new_uid() -> str:
    return f"CHAOS-{next(_serials):05}"


def _registration(lab: Lab) -> Play:
    fill(lab)
    return _anchoring([lab.register(new_uid()).record for _ in range(2)])


def _batching(lab: Lab) -> Play:
    """Registrations that are to share one transaction; those that are left over go alone."""
    fill(lab)
    play = _anchoring([lab.register(new_uid()).record for _ in range(3)])
    return replace(play, job=Job(BATCH))


def _transfer(lab: Lab) -> Play:
    fill(lab)
    records = []
    for _ in range(2):
        owner, uid = Owner(), new_uid()
        head = lab.registered(uid, owner).head
        records.append(lab.transfer(head, owner, Owner(), uid).record)
    return _anchoring(records, anchors=2)


def _anchoring(
    records: Sequence[AuthenticationRecord],
    *,
    anchors: int = 1,
    mend: Callable[[], None] = lambda: None,
) -> Play:
    uids = [record.uid_tag_id for record in records]
    return Play(
        Job(Task.ANCHOR_RECORDS.value),
        uids,
        lambda: AuthenticationRecord.objects(uid_tag_id__in=uids).count() == anchors * len(uids),
        mend,
    )


def _acceptance(lab: Lab) -> Play:
    """A registration as the web part accepts it; its client never hears whether it was."""
    fill(lab)
    uid = new_uid()
    # No message is on its way, so one has to be sent.
    begin(Task.ANCHOR_RECORDS)
    return Play(Job(ACCEPT, {"uid": uid, "owner": Owner().address}), [uid])


def _unwinding(lab: Lab) -> Play:
    """A record whose only coins are gone: its transaction is rejected, with evidence."""
    lab.fill_pool(3)
    coins = Utxo.list_available(KEY, limit=500)
    lab.spend_outside([TxInput(coin.point, coin.output) for coin in coins])
    lab.mine()
    return _anchoring([lab.register(new_uid()).record], mend=lambda: lab.fill_pool(1))


def _repricing(lab: Lab) -> Play:
    """A record whose transaction is refused for its fee, and gets other bytes with a higher one."""
    fill(lab)
    # Half as much again is too little still, and once more is enough, whatever the rounding: a job
    # that is watched and one that is killed must come by the same steps.
    Setting.put(FEE_PER_KB, 24)
    return _anchoring([lab.register(new_uid()).record])


def _contradicting(lab: Lab) -> Play:
    """A transaction that was accepted and has lost to another, which is as deep as is final."""
    lab.fill_pool(1, COIN_SATOSHIS)
    record = lab.registered(new_uid(), Owner())
    [carrier] = ChainTransaction.objects(id=record.transaction_id)
    [coin] = Utxo.find_all([each.outpoint for each in carrier.inputs]).values()
    lab.control("evict", {"txids": [carrier.txid]})
    lab.spend_coin_outside(coin)
    lab.mine(lab.settings.final_confirmations)
    _make_due(lab, [record])

    def look_again() -> None:
        waiting = {"_id": carrier.id, "next_attempt_at": {"$exists": True}}
        lab.collection("transactions").update_many(waiting, {"$set": _due(utc_now())})
        tracker.track()
        lab.fill_pool(1)

    return Play(
        Job(Task.TRACK_TRANSACTIONS.value),
        [record.uid_tag_id],
        lambda: ChainTransaction.objects(id=carrier.id).get().status == "contradicted",
        look_again,
    )


def _splitting(lab: Lab) -> Play:
    """A pool below its low mark, whose largest output pays for two rounds of splitting."""
    lab.fill_pool(1, 100_000)
    available = Utxo.count_available(KEY, at_least=USEFUL_SATOSHIS)
    Setting.put("MIN_UTXO_COUNT", available + 1)
    Setting.put("UTXO_MAX_POOL", available + 3)
    Setting.put("MAX_SPLIT_OUTPUTS", 2)
    Setting.put("SPLIT_COOLDOWN_MS", 0)
    Setting.put("SPLIT_LEASE_MS", 1)
    return Play(
        Job(Task.SPLIT_POOL.value),
        must_end=lambda: Utxo.count_available(KEY, at_least=USEFUL_SATOSHIS) > available,
    )


def _sweeping(lab: Lab) -> Play:
    """A pool with dust."""
    fill(lab)
    Setting.put("DUST_SWEEP_LIMIT", 2)
    lab.fill_pool(3, DUST_SATOSHIS)
    dust = [coin.outpoint for coin in Utxo.list_dust(KEY, below=USEFUL_SATOSHIS, limit=100)]
    return Play(
        Job(Task.SWEEP_DUST.value),
        must_end=lambda: (
            Utxo.objects(outpoint__in=dust, status=UtxoStatus.SPENT.value).count() == len(dust)
        ),
    )


def _syncing(lab: Lab) -> Play:
    """A pool that knows nothing of what has happened: of each kind something."""
    txid = lab.fund(2, COIN_SATOSHIS)
    lab.mine()
    pool_sync.sync()
    # Not just any: those of the processes that died before must stay as they are.
    restored, spent = Utxo.find_all([f"{txid}:0", f"{txid}:1"]).values()
    dropped_txid = lab.spend_coin_outside(restored)
    lab.fund(1)
    pool_sync.sync()
    lab.control("evict", {"txids": [dropped_txid]})
    lab.mine()
    lab.spend_coin_outside(spent)
    lab.fund(1)
    lab.mine()
    expected = {restored.outpoint: UtxoStatus.AVAILABLE, spent.outpoint: UtxoStatus.SPENT}
    return Play(Job(Task.SYNC_POOL.value), must_end=lambda: _statuses(expected) == expected)


def _reaping(lab: Lab) -> Play:
    """Coins that a dead worker has locked."""
    fill(lab)
    need = Need((), 100)
    locked = pool.lock({ObjectId(): need, ObjectId(): need}, key_identifier=KEY)
    lab.pass_time()
    points = [coin.outpoint for coins in locked.values() for coin in coins]
    expected = dict.fromkeys(points, UtxoStatus.AVAILABLE)
    return Play(Job(Task.REAP_LOCKS.value), must_end=lambda: _statuses(expected) == expected)


def _tracking(lab: Lab) -> Play:
    """A transaction that is mined, one that a reorganisation undid, one that a mempool dropped."""
    fill(lab)
    mined, undone = (_mined(lab) for _ in range(2))
    _make_due(lab, [undone])
    tracker.track()
    lab.control("reorg", {"depth": 1})
    dropped = lab.registered(new_uid(), Owner())
    lab.control("evict", {"txids": [dropped.txid]})
    records = [mined, undone, dropped]
    _make_due(lab, records)
    uids = [record.uid_tag_id for record in records]
    return Play(
        Job(Task.TRACK_TRANSACTIONS.value),
        uids,
        lambda: (
            ChainTransaction.objects(records__uid_tag_id__in=uids, status__in=_IN_A_BLOCK).count()
            == len(uids)
        ),
        lambda: _track_into_a_block(lab),
    )


def _mined(lab: Lab) -> AuthenticationRecord:
    record = lab.registered(new_uid(), Owner())
    lab.mine()
    return record


def _make_due(lab: Lab, records: Sequence[AuthenticationRecord]) -> None:
    """Has the tracker look at these and at no others."""
    transactions = lab.collection("transactions")
    later = utc_now() + timedelta(hours=1)
    transactions.update_many({"settled_at": {"$exists": True}}, {"$set": _due(later)})
    txids = [record.txid for record in records]
    transactions.update_many({"txid": {"$in": txids}}, {"$set": _due(utc_now())})


def _due(when: datetime) -> dict[str, datetime]:
    return {"next_attempt_at": when}


def _track_into_a_block(lab: Lab) -> None:
    """What beat does a little later: what was dropped is sent again, then mined."""
    for _ in range(3):
        lab.collection("transactions").update_many(
            {"status": {"$in": ["accepted", "mined"]}}, {"$set": _due(utc_now())}
        )
        tracker.track()
        lab.mine()


def _statuses(outpoints: dict[str, UtxoStatus]) -> dict[str, str]:
    return {point: row.status for point, row in Utxo.find_all(list(outpoints)).items()}


_IN_A_BLOCK = [TransactionStatus.MINED.value, TransactionStatus.FINAL.value]

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("acceptance", _acceptance),
        Stage("registration", _registration),
        Stage("batching", _batching),
        Stage("transfer", _transfer),
        Stage("unwinding", _unwinding, is_synced=True),
        Stage("repricing", _repricing),
        Stage("contradicting", _contradicting, is_synced=True, is_alone=True),
        Stage("splitting", _splitting, is_repeated=True),
        Stage("sweeping", _sweeping, is_repeated=True),
        Stage("syncing", _syncing, is_repeated=True),
        Stage("reaping", _reaping),
        Stage("tracking", _tracking, is_alone=True),
    )
}
