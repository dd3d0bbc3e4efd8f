"""Splits a large output into many, so that many records can be anchored at once.

A split is a stored transaction with the same life as any other.
"""

from __future__ import annotations

from dataclasses import dataclass

from bson import ObjectId

from app import extensions
from app.bitcoin.addresses import parse_address
from app.bitcoin.transactions import TxOutput
from app.clients.outcomes import ClientError
from app.domain.selection import Need
from app.errors import PoolEmptyError, SignerUnavailableError
from app.models.transaction import TransactionKind
from app.models.utxo import Utxo
from app.services import commitment, delivery, pool
from app.services.fees import satoshis_per_kilobyte
from app.services.signing import Draft, sign_all


@dataclass(frozen=True)
class SplitPlan:
    """How many outputs of what size bring the pool to its target; 0 where it is full."""

    outputs: int
    satoshis_each: int
    available: int


@dataclass(frozen=True)
class SplitResult:
    """The split that was sent; `is_accepted` is False while the network has not answered."""

    txid: str
    outputs: int
    is_accepted: bool


def plan(target: int | None = None) -> SplitPlan:
    """Counts what is missing to `target` outputs (default UTXO_MIN_POOL) of useful size."""
    settings = extensions.get().settings
    size = settings.utxo_split_size_sats
    useful = Utxo.count_available(settings.utxo_funding_key_identifier)
    missing = max(0, (target or settings.utxo_min_pool) - useful)
    return SplitPlan(min(missing, settings.max_split_outputs), size, useful)


def split(planned: SplitPlan) -> SplitResult | None:
    """Carries a plan out; None where there is nothing to do.

    Raises:
        PoolEmptyError: no output, or all together, can pay for it.
        SignerUnavailableError: the signer did not sign; everything is free again.
    """
    if planned.outputs < 1:
        return None
    settings = extensions.get().settings
    address = parse_address(settings.utxo_funding_address, settings.woc_network)
    outputs = (TxOutput(planned.satoshis_each, address.locking_script()),) * planned.outputs
    rate = satoshis_per_kilobyte()
    transaction_id = ObjectId()
    locked = pool.lock(
        {transaction_id: Need(outputs, rate)},
        key_identifier=settings.utxo_funding_key_identifier,
    )
    if not locked:
        needed = Need(outputs, rate).satoshis_with(1)
        raise PoolEmptyError(f"no outputs hold the {needed} satoshis that the split needs")
    draft = Draft(transaction_id, TransactionKind.SPLIT, locked[transaction_id], outputs)
    try:
        signed = sign_all([draft], satoshis_per_kilobyte=rate)
    except (ClientError, SignerUnavailableError) as error:
        Utxo.release_unheld([transaction_id])
        raise SignerUnavailableError(f"the signer did not sign: {error}") from error
    commitment.persist(signed)
    accepted = delivery.deliver(commitment.commit(signed))
    return SplitResult(signed[0].txid, planned.outputs, bool(accepted))
