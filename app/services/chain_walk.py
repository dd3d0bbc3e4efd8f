"""Finds transactions made with our keys that the chain has and the database does not know.

Forward from every output that the database takes for unspent, to whoever has spent it; and back
from every output that the chain lists for us, to whoever has made it. What strangers paid in and
was spent again without any change is met on neither way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app import extensions
from app.bitcoin.addresses import parse_address
from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.hashes import hash160
from app.bitcoin.scripts import find_p2pkh_hash160
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.clients.chain_types import Spend
from app.domain.states import UTXO_GONE
from app.models.cursors import stream
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services.reshaping import OnProgress, unwatched

_CHUNK = 20
_COMPRESSED_KEY = 33


@dataclass
class ChainWalk:
    """What was met: transactions of ours that the database lacks, and others that they rest on."""

    ours: dict[str, Transaction] = field(default_factory=dict)
    others: dict[str, Transaction] = field(default_factory=dict)

    def in_order(self) -> list[Transaction]:
        """Ours, each behind those whose outputs it spends."""
        order: dict[str, Transaction] = {}
        waiting = list(self.ours.values())
        while waiting:
            ready = [t for t in waiting if not self._parents(t) - order.keys()]
            order.update({t.txid: t for t in ready})
            waiting = [t for t in waiting if t.txid not in order]
        return list(order.values())

    def find_spent(self, each: TxInput) -> TxOutput | None:
        """The output that an input spends, where it was met."""
        parent = self.ours.get(each.outpoint.txid) or self.others.get(each.outpoint.txid)
        if parent is None or each.outpoint.vout >= len(parent.outputs):
            return None
        return parent.outputs[each.outpoint.vout]

    def _parents(self, transaction: Transaction) -> set[str]:
        return {each.outpoint.txid for each in transaction.inputs} & self.ours.keys()


def walk(addresses: Iterable[str], *, on_progress: OnProgress = unwatched) -> ChainWalk:
    """Walks the chain from all that we know. Reads only.

    Raises:
        ServiceUnavailableError: the chain service gave no complete answer.
    """
    current = extensions.get()
    network = current.settings.woc_network
    hashes = {parse_address(each, network).hash160 for each in addresses}
    found = ChainWalk()
    gone = {"status": {"$nin": [status.value for status in UTXO_GONE]}}
    known = {row["_id"] for row in stream(Utxo, gone, ("_id",))}
    listed = {
        f"{output.txid}:{output.vout}"
        for address in sorted(set(addresses))
        for output in current.chain.list_unspent(address)
        # The services list those too until the spending transaction is mined.
        if not output.is_spent_in_mempool
    }
    _walk_forward(found, known, hashes, on_progress)
    _walk_back(found, {p.partition(":")[0] for p in listed - known}, hashes, on_progress)
    # Branches of what was only found on the way back.
    made = {str(o) for t in found.ours.values() for o in _outpoints(t, hashes)}
    _walk_forward(found, made - listed, hashes, on_progress)
    _add_parents(found)
    return found


def _walk_forward(
    found: ChainWalk, points: set[str], hashes: set[bytes], on_progress: OnProgress
) -> None:
    while points:
        spenders = _list_spenders(sorted(points), on_progress)
        new = _fetch(_unknown(spenders, found))
        found.ours.update(new)
        points = {str(o) for t in new.values() for o in _outpoints(t, hashes)}


def _walk_back(
    found: ChainWalk, txids: set[str], hashes: set[bytes], on_progress: OnProgress
) -> None:
    while txids:
        on_progress("walk back", len(found.ours), None)
        met = _fetch(_unknown(txids, found))
        ours = {txid: t for txid, t in met.items() if _is_made_by(t, hashes)}
        found.ours.update(ours)
        found.others.update({txid: t for txid, t in met.items() if txid not in ours})
        txids = {each.outpoint.txid for t in ours.values() for each in t.inputs}


def _list_spenders(points: Sequence[str], on_progress: OnProgress) -> set[str]:
    spenders: set[str] = set()
    for start in range(0, len(points), _CHUNK):
        on_progress("ask who spent what we have", start, len(points))
        asked = [Outpoint.from_text(each) for each in points[start : start + _CHUNK]]
        outcomes = extensions.get().chain.find_spends(asked)
        spenders |= {each.txid for each in outcomes.values() if isinstance(each, Spend)}
    return spenders


def _unknown(txids: Iterable[str], found: ChainWalk) -> list[str]:
    """Those that neither the database knows nor this walk has met."""
    asked = sorted(set(txids) - found.ours.keys() - found.others.keys())
    return sorted(set(asked) - set(ChainTransaction.objects(txid__in=asked).scalar("txid")))


def _fetch(txids: Iterable[str]) -> Mapping[str, Transaction]:
    transactions = {}
    for txid in txids:
        raw_tx_hex = extensions.get().chain.find_raw_transaction(txid)
        try:
            transactions[txid] = Transaction.from_hex(raw_tx_hex or "")
        except BitcoinFormatError:
            continue
    return transactions


def _add_parents(found: ChainWalk) -> None:
    """Whatever ours spend: stored here, or else on the chain."""
    spent = {each.outpoint.txid for t in found.ours.values() for each in t.inputs}
    missing = spent - found.ours.keys() - found.others.keys()
    stored = ChainTransaction.objects(txid__in=sorted(missing)).scalar("txid", "raw_tx")
    found.others.update({txid: Transaction.from_bytes(bytes(raw)) for txid, raw in stored})
    found.others.update(_fetch(sorted(missing - found.others.keys())))


def _outpoints(transaction: Transaction, hashes: set[bytes]) -> list[Outpoint]:
    return [
        Outpoint(transaction.txid, vout)
        for vout, output in enumerate(transaction.outputs)
        if find_p2pkh_hash160(output.locking_script) in hashes
    ]


def _is_made_by(transaction: Transaction, hashes: set[bytes]) -> bool:
    """Whether an input is unlocked by one of our keys: it ends with the key."""
    return any(
        hash160(each.unlocking_script[-_COMPRESSED_KEY:]) in hashes for each in transaction.inputs
    )
