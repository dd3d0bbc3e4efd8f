"""Undoes a transaction that can never reach the chain: outputs free, records back in the queue.

Repeatable at any point: each step names the transaction whose trace it removes.
"""

from __future__ import annotations

from app import extensions
from app.domain.backoff import backoff
from app.domain.clock import utc_now
from app.domain.fees import raised_rate
from app.domain.states import TransactionStatus
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo


def unwind(transaction: ChainTransaction) -> None:
    """Frees what a rejected or abandoned transaction held and sends its records back.

    An input that another transaction is shown to have spent becomes spent by that one. Records of a
    rejected transaction have used up a try; those out of tries fail and so free their uid. Where
    only the fee was too low, they pay more the next time.
    """
    for conflict in transaction.conflicts:
        Utxo.mark_spent_elsewhere(conflict.outpoint, transaction.id, conflict.txid)
    Utxo.release_dead(transaction.id, is_suspect=_is_called_invalid(transaction))
    now = utc_now()
    if transaction.status == TransactionStatus.REJECTED:
        AuthenticationRecord.return_rejected(
            transaction.id,
            reason=transaction.reason or "rejected by the network",
            next_attempt_at=now + backoff(transaction.attempts, base_seconds=1, cap_seconds=60),
            max_attempts=extensions.get().settings.max_anchor_attempts,
            satoshis_per_kilobyte=_higher_rate(transaction),
        )
    else:
        AuthenticationRecord.return_abandoned(
            transaction.id, reason="its transaction was abandoned", next_attempt_at=now
        )
    ChainTransaction.finish_unwinding(transaction.id)


def _is_called_invalid(transaction: ChainTransaction) -> bool:
    is_rejected = transaction.status == TransactionStatus.REJECTED
    return is_rejected and not transaction.is_underpaid and not transaction.conflicts


def _higher_rate(transaction: ChainTransaction) -> int | None:
    if not transaction.is_underpaid:
        return None
    cap = extensions.get().settings.fee_per_kb_max
    return raised_rate(transaction.fee_satoshis, transaction.size_bytes, cap)
