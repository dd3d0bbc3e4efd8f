"""Locks chosen outputs and sends one transaction that spends exactly those: splits and sweeps.

The transaction has the same life as any other: stored before it is sent, sent again by the sweeper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bson import ObjectId

from app import logs
from app.bitcoin.transactions import TxOutput
from app.clients.outcomes import ClientError
from app.domain.clock import utc_now
from app.domain.fees import InsufficientFundsError
from app.domain.states import TRANSACTION_DEAD, TRANSACTION_ON_NETWORK
from app.errors import LockLostError, SignerUnavailableError
from app.models.transaction import ChainTransaction, TransactionKind
from app.models.utxo import Utxo
from app.services import commitment, delivery
from app.services.maintenance import Guard
from app.services.signing import Draft, sign_all

# What is being done, how much of it is done, and of how much (None where nobody knows).
OnProgress = Callable[[str, int, int | None], None]


def unwatched(step: str, done: int, total: int | None) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Locked:
    """Outputs that are ours to spend under this transaction id."""

    transaction_id: ObjectId
    coins: tuple[Utxo, ...]


@dataclass(frozen=True)
class SentTransaction:
    """What became of a transaction; until it is accepted or dead the sweeper sends it again."""

    txid: str
    inputs: int
    outputs: int
    fee_satoshis: int
    status: str
    reason: str | None

    @property
    def is_accepted(self) -> bool:
        return self.status in TRANSACTION_ON_NETWORK

    @property
    def is_dead(self) -> bool:
        return self.status in TRANSACTION_DEAD


def lock(outpoints: Sequence[str], guard: Guard) -> Locked:
    """Locks those of the outputs that are still spendable.

    Raises:
        LockLostError: somebody else is at it by now; nothing was locked.
    """
    guard.check()
    transaction_id = ObjectId()
    won = Utxo.lock_each(dict.fromkeys(outpoints, transaction_id), utc_now())
    coins = Utxo.find_all(list(won))
    return Locked(transaction_id, tuple(coins[point] for point in outpoints if point in coins))


def give_back(locked: Locked) -> None:
    """Frees what was locked; nothing was stored."""
    Utxo.release_unheld([locked.transaction_id])


def send(
    kind: TransactionKind,
    locked: Locked,
    outputs: Sequence[TxOutput],
    *,
    satoshis_per_kilobyte: int,
    guard: Guard,
) -> SentTransaction:
    """Signs, stores, commits and delivers; change, if any, goes to the funding address.

    Raises:
        SignerUnavailableError: the signer did not sign; everything is free again.
        LockLostError: before it was stored, everything is free again; after, the sweeper finishes.
    """
    request_id = logs.request_id.get()
    draft = Draft(
        locked.transaction_id,
        kind,
        locked.coins,
        outputs,
        request_ids=[request_id] if request_id else [],
    )
    try:
        signed = sign_all([draft], satoshis_per_kilobyte=satoshis_per_kilobyte)
        guard.check()
    except (ClientError, SignerUnavailableError) as error:
        give_back(locked)
        raise SignerUnavailableError(f"the signer did not sign: {error}") from error
    except (InsufficientFundsError, LockLostError):
        give_back(locked)
        raise
    stored = commitment.persist(signed)
    guard.check()
    committed = commitment.commit(stored)
    guard.check()
    delivery.deliver(committed)
    return _describe(signed[0])


def _describe(sent: ChainTransaction) -> SentTransaction:
    # By its txid: the same bytes may have been stored by somebody else before. A dead one has
    # given that up, and one that had to pay more has another.
    found = ChainTransaction.objects(txid=sent.txid) or ChainTransaction.objects(id=sent.id)
    now = found.only("txid", "status", "reason", "fee_satoshis").get()
    return SentTransaction(
        txid=now.txid or sent.txid,
        inputs=len(sent.inputs),
        outputs=len(sent.outputs),
        fee_satoshis=now.fee_satoshis,
        status=now.status,
        reason=now.reason,
    )
