"""Refusals are claims that services make more often than they are true.

The bytes of a transaction mined long ago answer "Missing inputs" as well, and so does a child whose
parent has not spread yet. So ask: is our own transaction known? If not, who spent the inputs? And
what one service calls invalid, by its policy or by mistake, another may mine: only what is shown by
bytes that hash to what they should counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app import extensions
from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.transactions import Outpoint, Transaction
from app.clients.chain_types import HeaderAt, Spend
from app.models.transaction import ChainTransaction, InputField
from app.services import proofs


@dataclass(frozen=True)
class Evidence:
    """What the chain shows: the txid under which it has the transaction, or else which inputs
    others have spent in blocks (outpoint -> txid)."""

    known_txid: str | None
    spent_elsewhere: dict[str, str]


def find_known(transactions: Sequence[ChainTransaction]) -> dict[str, str]:
    """Answers under which txid the chain knows transactions, by the txid that they have now.

    Raises:
        ServiceUnavailableError: the service could not tell.
    """
    asked = [txid for transaction in transactions for txid in transaction.txids]
    statuses = extensions.get().chain.list_transaction_statuses(asked) if asked else {}
    known = {txid for txid, status in statuses.items() if status.kind != "unknown"}
    return {
        transaction.txid: next(txid for txid in transaction.txids if txid in known)
        for transaction in transactions
        if not known.isdisjoint(transaction.txids)
    }


def gather(transaction: ChainTransaction) -> Evidence:
    """Asks the chain service about a transaction that was refused.

    Only a spend that is proven to be in a block counts: one in a mempool may still lose.

    Raises:
        ServiceUnavailableError: the service could not tell; that is no evidence.
    """
    known = find_known([transaction])
    if known:
        return Evidence(known[transaction.txid], {})
    outpoints = [Outpoint.from_text(item.outpoint) for item in transaction.inputs]
    spends = {
        point: spend
        for point, spend in extensions.get().chain.find_spends(outpoints).items()
        if isinstance(spend, Spend)
    }
    ours = [spend.txid for spend in spends.values() if spend.txid in transaction.txids]
    if ours:
        return Evidence(ours[0], {})
    headers: dict[str, HeaderAt] = {}
    return Evidence(
        None,
        {
            str(point): spend.txid
            for point, spend in spends.items()
            if spend.is_confirmed and _is_spent_in_block(point, spend.txid, headers)
        },
    )


def _is_spent_in_block(outpoint: Outpoint, spender: str, headers: dict[str, HeaderAt]) -> bool:
    spending = _find_transaction(spender)
    if spending is None or outpoint not in {each.outpoint for each in spending.inputs}:
        return False
    return proofs.find(spender, headers) is not None


def find_false_inputs(transaction: ChainTransaction) -> list[str]:
    """Answers the inputs that are not what we took them for, so that no block can ever hold it.

    We check each signature against amount and script of the output that it unlocks, so bytes that
    spend what is there as we know it are valid, whatever a service says.

    Raises:
        ServiceUnavailableError: the service could not tell.
    """
    return [each.outpoint for each in transaction.inputs if _is_false(each)]


def _is_false(spent: InputField) -> bool:
    outpoint = Outpoint.from_text(spent.outpoint)
    parent = _find_transaction(outpoint.txid)
    if parent is None:
        return False
    if outpoint.vout >= len(parent.outputs):
        return True
    output = parent.outputs[outpoint.vout]
    believed = (spent.satoshis, bytes.fromhex(spent.locking_script))
    return (output.satoshis, output.locking_script) != believed


def _find_transaction(txid: str) -> Transaction | None:
    """A transaction as the chain has it; its bytes hash to its txid."""
    raw_tx_hex = extensions.get().chain.find_raw_transaction(txid)
    if raw_tx_hex is None:
        return None
    try:
        return Transaction.from_hex(raw_tx_hex)
    except BitcoinFormatError:
        return None
