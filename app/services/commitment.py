"""Persist and commit: the last steps before the network may see a transaction.

A transaction is stored `signed`. It becomes `committed` when all its inputs are held and all its
records name it, or `abandoned` when one of them was lost meanwhile. Both moves leave `signed`, so
only one happens, and what they rest on never changes back: lock and claim ids are used once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from app import extensions
from app.domain.clock import utc_now
from app.domain.states import TransactionEvent
from app.logs import chain_event
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import unwinding

logger = logging.getLogger(__name__)


def persist(transactions: Sequence[ChainTransaction]) -> list[ChainTransaction]:
    """Stores signed transactions; answers those that it stored.

    Until the lease is over only their maker commits them. One whose very bytes are stored already
    was made by somebody who took record and outputs over while we slept: it is given up.
    """
    lease = timedelta(seconds=extensions.get().settings.claim_lease_seconds)
    for transaction in transactions:
        transaction.next_attempt_at = utc_now() + lease
    stored = ChainTransaction.insert_all(transactions)
    for transaction in stored:
        _log("signed", transaction, fee_satoshis=transaction.fee_satoshis)
    twins = [t.id for t in transactions if t not in stored]
    if twins:
        logger.warning("%d transactions are stored already, by others", len(twins))
        Utxo.release_unheld(twins)
        AuthenticationRecord.release_claims(
            twins, reason="another worker took it over", next_attempt_at=utc_now()
        )
    return stored


def commit(transactions: Sequence[ChainTransaction]) -> list[ChainTransaction]:
    """Makes locks permanent and claims final; answers the transactions that may be broadcast.

    The others are abandoned and what they still held is free again. Can be repeated by anyone.
    """
    held = Utxo.hold_each({i.outpoint: t.id for t in transactions for i in t.inputs})
    funded = [t for t in transactions if all(i.outpoint in held for i in t.inputs)]
    named = AuthenticationRecord.commit_each(funded)
    ready = [t for t in funded if all(r.record_id in named for r in t.records)]
    ready_ids = [t.id for t in ready]
    # From here on the sweeper delivers it as well, should this process die.
    lease = timedelta(seconds=extensions.get().settings.claim_lease_seconds)
    committed = ChainTransaction.move_all(
        ready_ids, TransactionEvent.COMMITTED, set__next_attempt_at=utc_now() + lease
    )
    for transaction in transactions:
        if transaction.id in committed:
            _log("committed", transaction)
        elif transaction.id not in ready_ids:
            _abandon(transaction)
    return [t for t in ready if t.id in committed]


def _abandon(transaction: ChainTransaction) -> None:
    if ChainTransaction.abandon(transaction.id):
        _log("abandoned", transaction, reason="an output or a record was taken over meanwhile")
        unwinding.unwind(transaction)


def _log(event: str, transaction: ChainTransaction, **fields: object) -> None:
    logger.info(
        "transaction %s",
        event,
        extra=chain_event(
            event,
            transaction.txid,
            kind=transaction.kind,
            request_ids=list(transaction.request_ids),
            **fields,
        ),
    )
