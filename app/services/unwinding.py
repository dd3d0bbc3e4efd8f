"""Undoes a transaction that can never reach the chain: outputs free, records back in the queue.

Repeatable at any point: each step names the transaction whose trace it removes.
"""

from __future__ import annotations

from app import extensions
from app.domain.backoff import backoff
from app.domain.clock import utc_now
from app.domain.states import TransactionStatus
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo


def unwind(transaction: ChainTransaction) -> None:
    """Frees what a rejected or abandoned transaction held and sends its records back.

    An input that another transaction is shown to have spent becomes spent by that one. Records of a
    rejected transaction have used up a try; those out of tries fail and so free their uid.

    A transaction that was given up without proof may still be mined by somebody: its records fail,
    since a second anchor must not be made, and its outputs wait for a sync.
    """
    for conflict in transaction.conflicts:
        Utxo.mark_spent_elsewhere(conflict.outpoint, transaction.id, conflict.txid)
    Utxo.suspect(transaction.id, _list_suspects(transaction))
    Utxo.release_dead(transaction.id)
    now = utc_now()
    reason = transaction.reason or "rejected by the network"
    if transaction.is_given_up:
        AuthenticationRecord.fail_carried(transaction.id, reason)
    elif transaction.status == TransactionStatus.REJECTED:
        AuthenticationRecord.return_rejected(
            transaction.id,
            reason=reason,
            next_attempt_at=now + backoff(transaction.attempts, base_seconds=1, cap_seconds=60),
            max_attempts=extensions.get().settings.max_anchor_attempts,
        )
    else:
        AuthenticationRecord.return_abandoned(
            transaction.id, reason="its transaction was abandoned", next_attempt_at=now
        )
    ChainTransaction.finish_unwinding(transaction.id)


def _list_suspects(transaction: ChainTransaction) -> list[str]:
    if transaction.is_given_up:
        return [each.outpoint for each in transaction.inputs]
    return list(transaction.false_inputs)
