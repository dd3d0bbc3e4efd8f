"""What a node does with a transaction that it is handed."""

from dataclasses import dataclass, replace

from app.bitcoin.errors import InvalidTransactionError, ScriptVerificationError
from app.bitcoin.interpreter import verify_input_scripts
from app.bitcoin.serialization import bytes_from_hex
from app.bitcoin.transactions import MAX_SATOSHIS, Transaction, TxOutput
from devnet.chain.blocks import COINBASE_MATURITY, median_time_past
from devnet.chain.rows import StoredOutput, StoredTransaction
from devnet.chain.rules import check_shape, decode, is_final, minimum_fee
from devnet.chain.store import Store
from devnet.chain.verdicts import (
    ALREADY_KNOWN,
    HIGH_FEE,
    INSUFFICIENT_FEE,
    INVALID,
    ConflictError,
    DuplicateError,
    MissingInputsError,
    RejectionError,
    UndecodableError,
)

ABSURD_FEE_SATOSHIS = 10_000_000


@dataclass
class Counters:
    """What became of the transactions handed in since the process started."""

    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0


class Mempool:
    """Valid transactions that wait for a block; they live in the store."""

    def __init__(self, store: Store, minimum_satoshis_per_kilobyte: int) -> None:
        self._store = store
        self.minimum_satoshis_per_kilobyte = minimum_satoshis_per_kilobyte
        self.counters = Counters()

    def submit_hex(self, text: str) -> str:
        """Submit the transaction that hex of the plain format spells."""
        try:
            raw = bytes_from_hex(text, InvalidTransactionError, "The transaction")
        except InvalidTransactionError:
            self.counters.rejected += 1
            raise UndecodableError from None
        return self.submit(raw)

    def submit(self, raw: bytes) -> str:
        """Validate a transaction in the plain format, keep it and return its txid.

        Raises RejectionError with the node's words.
        """
        try:
            with self._store.transaction():
                txid = self._accept(raw)
        except DuplicateError:
            self.counters.duplicates += 1
            raise
        except RejectionError:
            self.counters.rejected += 1
            raise
        self.counters.accepted += 1
        return txid

    def _accept(self, raw: bytes) -> str:
        tx = decode(raw)
        check_shape(tx)
        self._refuse_mempool_duplicate(tx.txid)
        spent = self._find_spent(tx)
        self._refuse_conflict(tx.txid, spent)
        self._refuse_mined_duplicate(tx.txid)
        known = _require_inputs(spent)
        is_mineable = self._is_final(tx)
        self._check_coinbases(known)
        fee = self._check_values(tx, known)
        verify(tx, known)
        if is_mineable:
            stored = StoredTransaction(tx.txid, raw, fee, False, None, None)
            self._store.add_transaction(stored, tx)
            self._store.change("DELETE FROM dropped WHERE txid = ?", (tx.txid,))
        else:
            self._store.change("INSERT OR IGNORE INTO non_final VALUES (?, ?)", (tx.txid, raw))
        return tx.txid

    def _refuse_mempool_duplicate(self, txid: str) -> None:
        stored = self._store.find_transaction(txid)
        if stored is not None and stored.height is None:
            raise DuplicateError("Transaction already in the mempool")

    def _find_spent(self, tx: Transaction) -> list[StoredOutput | None]:
        return [self._store.find_output(tx_input.outpoint) for tx_input in tx.inputs]

    def _refuse_conflict(self, txid: str, spent: list[StoredOutput | None]) -> None:
        spenders = {
            output.spent_by
            for output in spent
            if output is not None and output.is_spent_in_mempool and output.spent_by != txid
        }
        if spenders:
            raise ConflictError(sorted(filter(None, spenders)))

    def _refuse_mined_duplicate(self, txid: str) -> None:
        # The node knows a mined transaction by its unspent outputs alone, so one whose outputs
        # are all spent in blocks falls through to "Missing inputs". Data is never unspent.
        outputs = self._store.list_outputs(txid)
        if any(not output.is_data and output.spent_height is None for output in outputs):
            raise DuplicateError("txn-already-known", ALREADY_KNOWN)

    def _is_final(self, tx: Transaction) -> bool:
        if tx.locktime == 0:
            return True
        blocks = self._store.list_last_blocks(11)
        return is_final(tx, blocks[0].height + 1, median_time_past(blocks))

    def _check_coinbases(self, spent: list[StoredOutput]) -> None:
        heights = [output.height for output in spent if output.is_coinbase]
        if not heights:
            return
        tip = self._store.find_tip()
        next_height = tip.height + 1 if tip else 0
        if any(height is None or next_height - height < COINBASE_MATURITY for height in heights):
            raise RejectionError("bad-txns-premature-spend-of-coinbase", INVALID)

    def _check_values(self, tx: Transaction, spent: list[StoredOutput]) -> int:
        """Return the fee in satoshis."""
        value_in = sum(output.satoshis for output in spent)
        if value_in > MAX_SATOSHIS:
            raise RejectionError("bad-txns-inputvalues-outofrange", INVALID)
        fee = value_in - sum(output.satoshis for output in tx.outputs)
        if fee < 0:
            raise RejectionError("bad-txns-in-belowout", INVALID)
        if fee < minimum_fee(tx.size, self.minimum_satoshis_per_kilobyte):
            raise RejectionError("mempool min fee not met", INSUFFICIENT_FEE)
        if fee > ABSURD_FEE_SATOSHIS:
            raise RejectionError("absurdly-high-fee", HIGH_FEE)
        return fee

    def release_final(self) -> None:
        """Take in the transactions whose locktime has come; those spent meanwhile are gone."""
        for txid, raw in self._store.rows("SELECT txid, raw FROM non_final"):
            if not self._is_final(decode(raw)):
                continue
            self._store.change("DELETE FROM non_final WHERE txid = ?", (txid,))
            try:
                self._accept(raw)
            except RejectionError:
                self.counters.rejected += 1

    def remove(self, txids: list[str], reason: str) -> list[str]:
        """Take transactions and all that spend them out of the mempool; unknown ones count not.

        Returns the removed txids, children first. Mined ones stay.
        """
        removed: list[str] = []
        with self._store.transaction():
            for txid in txids:
                for each in self._descendants_first(txid):
                    self._store.remove_transaction(each)
                    self._store.change(
                        "INSERT OR REPLACE INTO dropped VALUES (?, ?)", (each, reason)
                    )
                    removed.append(each)
        return removed

    def _descendants_first(self, txid: str) -> list[str]:
        rows = self._store.rows(
            "WITH RECURSIVE family(txid) AS (SELECT txid FROM transactions"
            " WHERE txid = ? AND height IS NULL"
            " UNION SELECT spent_by FROM outputs JOIN family USING (txid)"
            " WHERE spent_by IS NOT NULL)"
            " SELECT txid FROM transactions JOIN family USING (txid) ORDER BY position DESC",
            (txid,),
        )
        return [each for (each,) in rows]


def _require_inputs(spent: list[StoredOutput | None]) -> list[StoredOutput]:
    known = []
    for output in spent:
        if output is None or output.is_data or output.spent_by is not None:
            raise MissingInputsError
        known.append(output)
    return known


def verify(tx: Transaction, spent: list[StoredOutput]) -> None:
    """Run the scripts of every input against the outputs that it spends."""
    inputs = tuple(
        replace(tx_input, spent=TxOutput(output.satoshis, output.script))
        for tx_input, output in zip(tx.inputs, spent, strict=True)
    )
    try:
        verify_input_scripts(replace(tx, inputs=inputs))
    except ScriptVerificationError as error:
        reason = f"mandatory-script-verify-flag-failed ({error.detail})"
        raise RejectionError(reason, INVALID) from None
