"""What follows once the network has a transaction: inputs spent, change in, patches moved."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from app import extensions
from app.bitcoin.transactions import Outpoint
from app.domain.clock import utc_now
from app.logs import chain_event
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import NewUtxo, Utxo

logger = logging.getLogger(__name__)


def accept(transactions: Sequence[ChainTransaction]) -> None:
    """Notes that the network has these transactions, then settles them.

    The verdict comes first, in one compare-and-set that excludes a rejection; a crash behind it is
    mended by the sweeper, which settles accepted transactions that are not settled yet.
    """
    lease = timedelta(seconds=extensions.get().settings.claim_lease_seconds)
    accepted = ChainTransaction.accept_all(transactions, utc_now() + lease)
    settle([t for t in transactions if t.id in accepted])


def settle(transactions: Sequence[ChainTransaction]) -> None:
    """Draws the consequences of acceptance, in an order that can be repeated from any point."""
    if not transactions:
        return
    Utxo.spend_each((i.outpoint, t.id, t.txid) for t in transactions for i in t.inputs)
    Utxo.add_all(output for t in transactions for output in _new_outputs(t))
    PatchState.advance_each([record for t in transactions for record in t.records])
    AuthenticationRecord.rename_each([t for t in transactions if t.earlier])
    AuthenticationRecord.settle_each(transactions)
    interval = timedelta(seconds=extensions.get().settings.track_interval_seconds)
    ChainTransaction.mark_settled([t.id for t in transactions], utc_now() + interval)
    for transaction in transactions:
        logger.info(
            "transaction settled",
            extra=chain_event(
                "settled",
                transaction.txid,
                kind=transaction.kind,
                request_ids=list(transaction.request_ids),
                record_ids=[str(record.record_id) for record in transaction.records],
            ),
        )


def _new_outputs(transaction: ChainTransaction) -> list[NewUtxo]:
    # Spendable at once: the parent is ours, stored, and sent again should the network drop it.
    return [
        NewUtxo(
            outpoint=Outpoint(transaction.txid, output.vout),
            satoshis=output.satoshis,
            locking_script=bytes.fromhex(output.locking_script),
            key_identifier=output.key_identifier,
            address=output.address,
            is_spendable=True,
        )
        for output in transaction.outputs
    ]
