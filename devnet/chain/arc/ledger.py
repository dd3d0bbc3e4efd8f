"""What one ARC instance remembers of what it was asked to send, and where that stands now."""

import json
from dataclasses import dataclass

from app.bitcoin.transactions import Transaction
from devnet.chain.chainstate import Chain
from devnet.chain.verdicts import (
    ConflictError,
    DuplicateError,
    MissingInputsError,
    RejectionError,
)

ORPHAN, SEEN, ANNOUNCED = "SEEN_IN_ORPHAN_MEMPOOL", "SEEN_ON_NETWORK", "ANNOUNCED_TO_NETWORK"
DOUBLE_SPEND, REJECTED, MINED = "DOUBLE_SPEND_ATTEMPTED", "REJECTED", "MINED"
STALE, SENT = "MINED_IN_STALE_BLOCK", "SENT_TO_NETWORK"
_AFTER_DROP = {
    "evicted": (REJECTED, "discarded from mempool: mempool-sizelimit-exceeded"),
    "reorganised": (STALE, ""),
}


@dataclass(frozen=True)
class Standing:
    """Where a transaction stands; `competing` spend the same outputs."""

    status: str
    extra_info: str = ""
    competing: tuple[str, ...] = ()


class Ledger:
    """The transactions submitted to ARC; they live in the chain's store."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._store = chain.store

    def find(self, txid: str) -> Standing | None:
        """Return where a submitted transaction stands, None for one never submitted here."""
        with self._store.transaction():
            noted = self._noted(txid)
            if noted is not None and noted.status == ORPHAN:
                # A node keeps orphans and takes them in as soon as their parents come.
                (raw,) = self._store.one(
                    "SELECT raw FROM arc_transactions WHERE txid = ?", (txid,)
                ) or (b"",)
                noted = self._send(txid, raw)
            return None if noted is None else self._standing_now(txid, noted)

    def submit(self, tx: Transaction) -> Standing:
        """Hand a transaction to the node and note what it says."""
        with self._store.transaction():
            is_new = self._noted(tx.txid) is None
            noted = self._send(tx.txid, tx.to_bytes())
            if is_new and noted.status == ANNOUNCED:
                return noted
            return self._standing_now(tx.txid, noted)

    def _noted(self, txid: str) -> Standing | None:
        row = self._store.one(
            "SELECT status, extra_info, competing FROM arc_transactions WHERE txid = ?", (txid,)
        )
        return None if row is None else Standing(row[0], row[1], tuple(json.loads(row[2])))

    def _send(self, txid: str, raw: bytes) -> Standing:
        before = self._noted(txid) or Standing(SENT)
        standing = self._ask_node(txid, raw, before)
        self._store.change(
            "INSERT OR REPLACE INTO arc_transactions VALUES (?, ?, ?, ?, ?)",
            (txid, raw, standing.status, standing.extra_info, json.dumps(standing.competing)),
        )
        return standing

    def _ask_node(self, txid: str, raw: bytes, before: Standing) -> Standing:
        try:
            self._chain.mempool.submit(raw)
        except ConflictError as conflict:
            self._note_competitor(txid, conflict.txids)
            return Standing(DOUBLE_SPEND, "", tuple(conflict.txids))
        except (DuplicateError, MissingInputsError):
            stored = self._store.find_transaction(txid)
            if stored is None:
                return Standing(ORPHAN)
            status = SEEN if stored.height is None else ANNOUNCED
            return Standing(status, before.extra_info, before.competing)
        except RejectionError as rejection:
            return Standing(REJECTED, f"invalid transaction: {rejection.reason}")
        # A node takes a transaction that is not final yet, and tells nobody.
        is_seen = self._store.find_transaction(txid) is not None
        return Standing(SEEN if is_seen else SENT, "", before.competing)

    def _note_competitor(self, txid: str, rivals: list[str]) -> None:
        for rival in rivals:
            noted = self._noted(rival)
            if noted is not None:
                competing = sorted({*noted.competing, txid})
                self._store.change(
                    "UPDATE arc_transactions SET competing = ? WHERE txid = ?",
                    (json.dumps(competing), rival),
                )

    def _standing_now(self, txid: str, noted: Standing) -> Standing:
        stored = self._store.find_transaction(txid)
        if stored is not None and stored.height is not None:
            return Standing(MINED, "previously double spend attempted" if noted.competing else "")
        if stored is not None:
            return Standing(DOUBLE_SPEND if noted.competing else SEEN, "", noted.competing)
        if noted.status == DOUBLE_SPEND:
            is_lost = any(map(self._is_mined, noted.competing))
            return Standing(REJECTED, "double spend attempted") if is_lost else noted
        dropped = self._store.one("SELECT reason FROM dropped WHERE txid = ?", (txid,))
        return Standing(*_AFTER_DROP[dropped[0]]) if dropped else noted

    def _is_mined(self, txid: str) -> bool:
        stored = self._store.find_transaction(txid)
        return stored is not None and stored.height is not None
