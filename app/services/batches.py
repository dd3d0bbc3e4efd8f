"""Anchors many registrations in one transaction: a batch is a way to anchor, not a shortcut.

One claim, one lock, one signed transaction that is stored before it is sent: the same life as any
other, by the same steps (`commitment`, `delivery`, `settlement`), and mended by the same sweeper.
On the chain are a merkle root and the number of leaves; each record keeps the path that proves it,
and is named by its digest, since the transaction's txid names them all.

Transfers go alone: what one continues must stay on the chain (see `app.domain.custody`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bson import ObjectId

from app import extensions, logs
from app.bitcoin.transactions import TxOutput
from app.clients.outcomes import ClientError
from app.domain.batch_tree import BatchTree
from app.domain.clock import utc_now
from app.domain.envelope import Envelope, Kind, batch_payload
from app.domain.records import RecordKind
from app.domain.selection import Need
from app.domain.states import TRANSACTION_DEAD
from app.errors import BatchAbandonedError, PatchProofError, PoolEmptyError
from app.logs import chain_event
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction, TransactionKind
from app.models.utxo import Utxo
from app.services import anchoring, commitment, delivery, knobs, pool, pool_split
from app.services.endorsement import Endorsement, check_writable, endorse
from app.services.maintenance import Guard, exclusive
from app.services.signing import Draft, WrongKeyError, sign_all

logger = logging.getLogger(__name__)

# One call to the signer takes no more.
MAX_RECORDS = 1000
DEFAULT_RECORDS = 100
LOCK = "batch-anchor"
# Nothing is wrong with records that an attempt gives back.
_SOON = timedelta(seconds=2)
# A line of a log with all the ids of a full batch would be cut by journald.
_IDS_A_LINE = 100

# What is being done, how many records are through it, and of how many.
OnProgress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class BatchReport:
    """What a call has done: `txid` carries `processed` records, `updated` of them are confirmed.

    With nothing to do there is no `txid`. Where the network has not said yes there is none that is
    confirmed, and the sweeper goes on.
    """

    txid: str | None
    processed: int
    updated: int

    @property
    def is_settled(self) -> bool:
        return self.processed == self.updated


def anchor_waiting(
    limit: int = DEFAULT_RECORDS, *, on_progress: OnProgress = lambda *_: None
) -> BatchReport:
    """Anchors up to `limit` registrations that wait in one transaction, due or not.

    One call at a time, on all hosts together.

    Raises:
        LockHeldError: another call is at work.
        LockLostError, UnavailableError, ClientError: lock, coins or signer are not to be had; what
            was claimed waits as before.
        BatchAbandonedError: it can't be sent, or the network has rejected it; its records wait.
    """
    with exclusive(LOCK) as guard:
        return _anchor(limit, guard, on_progress)


def _anchor(limit: int, guard: Guard, on_progress: OnProgress) -> BatchReport:
    on_progress("claim", 0, None)
    batch_id = ObjectId()
    claimed = _claim(limit, batch_id)
    if not claimed:
        return BatchReport(None, 0, 0)
    count = len(claimed)
    on_progress("sign", 0, count)
    try:
        transaction = _sign(claimed, batch_id)
        guard.check()
    except (ClientError, PatchProofError) as error:
        _give_back(claimed, batch_id, error)
        raise
    on_progress("send", count, count)
    delivered = delivery.deliver(_commit(transaction, claimed))
    pool_split.ask_if_low(knobs.load())
    return _report(batch_id, count, is_delivered=bool(delivered))


def _claim(limit: int, batch_id: ObjectId) -> list[AuthenticationRecord]:
    waiting = AuthenticationRecord.list_waiting(RecordKind.REGISTRATION, utc_now(), limit)
    if not waiting:
        return []
    claimed = AuthenticationRecord.claim_together(waiting, batch_id, utc_now())
    return [record for record in claimed if _is_writable(record)]


def _is_writable(record: AuthenticationRecord) -> bool:
    """Nothing that the API accepts is not, but one alone must not hold up all the others."""
    try:
        check_writable(record.content)
    except ValueError as error:
        anchoring.fail_unwritable(record, error)
        return False
    return True


def _sign(claimed: Sequence[AuthenticationRecord], batch_id: ObjectId) -> ChainTransaction:
    """Locks what pays for it and has it signed: one call for the records, one for the inputs.

    Raises:
        PoolEmptyError: nothing in the pool pays for it.
    """
    settings = extensions.get().settings
    rate = knobs.load().satoshis_per_kilobyte
    # As large as the real one.
    need = Need((_output(b"\0" * 32, len(claimed)),), rate)
    coins = pool.lock({batch_id: need}, key_identifier=settings.utxo_funding_key_identifier)
    if batch_id not in coins:
        raise PoolEmptyError("the pool has no output left that pays for a batch")
    endorsements = endorse(claimed)
    call = logs.request_id.get()
    draft = Draft(
        transaction_id=batch_id,
        kind=TransactionKind.BATCH,
        coins=coins[batch_id],
        outputs=[_root_output(endorsements)],
        records=[
            anchoring.anchored(record, endorsement)
            for record, endorsement in zip(claimed, endorsements, strict=True)
        ],
        # Of the call; `_log_members` ties those of its records to it.
        request_ids=[call] if call else [],
    )
    return sign_all([draft], satoshis_per_kilobyte=rate)[0]


def _root_output(endorsements: Sequence[Endorsement]) -> TxOutput:
    tree = BatchTree.of([bytes.fromhex(each.digest) for each in endorsements])
    return _output(tree.root, tree.size)


def _output(merkle_root: bytes, leaf_count: int) -> TxOutput:
    envelope = Envelope(Kind.BATCH, batch_payload(merkle_root, leaf_count))
    return TxOutput(0, envelope.to_locking_script())


def _commit(
    transaction: ChainTransaction, claimed: Sequence[AuthenticationRecord]
) -> list[ChainTransaction]:
    """Stores it and makes its claims final.

    Raises:
        BatchAbandonedError: an output or a record was taken over meanwhile.
    """
    committed = commitment.commit(commitment.persist([transaction]))
    if not committed:
        raise BatchAbandonedError("an output or a record was taken over meanwhile; try again")
    _log_members(transaction, claimed)
    return committed


def _give_back(
    claimed: Sequence[AuthenticationRecord], batch_id: ObjectId, error: Exception
) -> None:
    """Frees outputs and claims of an attempt of which nothing was persisted.

    A coin that the signer can't unlock stays locked until its lease is over, so that the next
    attempt takes another.
    """
    logger.warning(
        "%d records are not batched: %s",
        len(claimed),
        error,
        extra=chain_event("waiting", None, reason=str(error), records=len(claimed)),
    )
    if not isinstance(error, WrongKeyError):
        Utxo.release_unheld([batch_id])
    AuthenticationRecord.release_claims(
        [batch_id], reason=str(error), next_attempt_at=utc_now() + _SOON
    )


def _report(batch_id: ObjectId, count: int, *, is_delivered: bool) -> BatchReport:
    """What has become of it; its fee may have been raised, and its txid with it."""
    fields = ("status", "txid", "reason")
    transaction = ChainTransaction.objects(id=batch_id).only(*fields).get()
    if transaction.status in TRANSACTION_DEAD:
        raise BatchAbandonedError(f"the network rejected the batch: {transaction.reason}")
    return BatchReport(transaction.txid, count, count if is_delivered else 0)


def _log_members(transaction: ChainTransaction, claimed: Sequence[AuthenticationRecord]) -> None:
    """Says in which transaction a request's record goes on; all other lines name only that."""
    for start in range(0, len(claimed), _IDS_A_LINE):
        some = claimed[start : start + _IDS_A_LINE]
        logger.info(
            "records batched",
            extra=chain_event(
                "batched",
                transaction.txid,
                record_ids=[str(record.id) for record in some],
                request_ids=[record.request_id for record in some if record.request_id],
            ),
        )
