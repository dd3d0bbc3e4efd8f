"""Missing inputs, conflict: claims that services make more often than they are true.

The bytes of a transaction mined long ago answer "Missing inputs" as well, and so does a child whose
parent has not spread yet. So ask: is our own transaction known? If not, who spent the inputs?
"""

from __future__ import annotations

from dataclasses import dataclass

from app import extensions
from app.bitcoin.transactions import Outpoint
from app.clients.chain_types import Spend
from app.models.transaction import ChainTransaction


@dataclass(frozen=True)
class Evidence:
    """What the chain shows: that it has the transaction, or which inputs others spent in blocks."""

    is_known: bool
    spent_elsewhere: dict[str, str]


def gather(transaction: ChainTransaction) -> Evidence:
    """Asks the chain service about a transaction that was called a conflict.

    Only a spend in a block counts: one in a mempool may still lose.

    Raises:
        ServiceUnavailableError: the service could not tell; that is no evidence.
    """
    chain = extensions.get().chain
    status = chain.list_transaction_statuses([transaction.txid]).get(transaction.txid)
    if status is not None and status.kind != "unknown":
        return Evidence(True, {})
    outpoints = [Outpoint.from_text(item.outpoint) for item in transaction.inputs]
    spends = {
        str(outpoint): spend
        for outpoint, spend in chain.find_spends(outpoints).items()
        if isinstance(spend, Spend)
    }
    if any(spend.txid == transaction.txid for spend in spends.values()):
        return Evidence(True, {})
    return Evidence(
        False, {point: spend.txid for point, spend in spends.items() if spend.is_confirmed}
    )
