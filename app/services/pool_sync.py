"""Makes the pool agree with what the chain says pays our funding address.

Only adds and confirms: an output that is known already keeps its status, whatever the list says.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from app import extensions
from app.bitcoin.addresses import parse_address
from app.bitcoin.transactions import Outpoint
from app.clients.chain_types import UnspentOutput
from app.models.utxo import NewUtxo, Utxo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SyncReport:
    """Outputs of the funding address: listed by the chain, new to the pool, newly confirmed."""

    listed: int
    added: int
    confirmed: int


def sync() -> SyncReport:
    """Adds outputs that the pool does not know and confirms those that are deep enough.

    Raises:
        ServiceUnavailableError: the chain service gave no complete list; nothing changes.
    """
    current = extensions.get()
    settings = current.settings
    tip_height = current.chain.get_chain_info().tip_height
    listed = [
        output
        for output in current.chain.list_unspent(settings.utxo_funding_address)
        if not output.is_spent_in_mempool
    ]
    deep = [output for output in listed if _is_deep(output, tip_height)]
    added = Utxo.add_all(_new_utxo(output, output in deep) for output in listed)
    confirmed = Utxo.confirm_each(
        {str(Outpoint(o.txid, o.vout)): o.height for o in deep if o.height is not None}
    )
    report = SyncReport(len(listed), added, confirmed)
    logger.info(
        "pool synced", extra={"event": "pool.synced", "added": added, "confirmed": confirmed}
    )
    return report


def _is_deep(output: UnspentOutput, tip_height: int) -> bool:
    confirmations = 0 if output.height is None else tip_height - output.height + 1
    return confirmations >= extensions.get().settings.utxo_min_confirmations


def _new_utxo(output: UnspentOutput, is_spendable: bool) -> NewUtxo:
    settings = extensions.get().settings
    address = parse_address(settings.utxo_funding_address, settings.woc_network)
    return NewUtxo(
        outpoint=Outpoint(output.txid, output.vout),
        satoshis=output.satoshis,
        # Listed under our address, so it is locked by its script and no other.
        locking_script=address.locking_script(),
        key_identifier=settings.utxo_funding_key_identifier,
        address=settings.utxo_funding_address,
        is_spendable=is_spendable,
        block_height=output.height,
    )
