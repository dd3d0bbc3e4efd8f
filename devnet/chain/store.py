"""The chain's state in one SQLite file.

One connection, one lock: whoever reads or writes holds `Store.lock`, so that every answer shows
one moment. WAL with `synchronous=NORMAL` commits without waiting for the disk: a killed process
loses nothing, a machine without power may lose the last commits but stays consistent.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.bitcoin.headers import BlockHeader
from app.bitcoin.scripts import script_hash
from app.bitcoin.transactions import Outpoint, Transaction
from devnet.chain.rows import StoredBlock, StoredOutput, StoredTransaction
from devnet.chain.schema import SCHEMA, SCHEMA_VERSION

DATA_PREFIX = b"\x00\x6a"


class StoreError(Exception):
    """The data directory holds no usable chain."""


class Store:
    """Blocks, transactions and outputs, with the few changes that they know."""

    def __init__(self, path: Path) -> None:
        """Open the database at `path`, made when absent."""
        self.lock = threading.RLock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("PRAGMA wal_autocheckpoint=8000")
        self._connection.execute("PRAGMA cache_size=-65536")  # 64 MB
        try:
            self._prepare()
        except StoreError:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        (version,) = self.one("PRAGMA user_version") or (0,)
        if version == 0:
            self._connection.executescript(
                f"BEGIN;{SCHEMA};PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
            )
        elif version != SCHEMA_VERSION:
            raise StoreError(
                f"The data directory holds a chain of version {version}, this program makes "
                f"version {SCHEMA_VERSION}. Delete the directory to begin a new chain."
            )

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the block's changes at once or, when it raises, not at all."""
        with self.lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return every row of a query."""
        with self.lock:
            return self._connection.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, None without one."""
        with self.lock:
            row: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
            return row

    def change(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement and return how many rows it changed."""
        with self.lock:
            return self._connection.execute(sql, parameters).rowcount

    # blocks

    def find_tip(self) -> StoredBlock | None:
        """Return the highest active block."""
        return self._block("SELECT * FROM blocks WHERE is_active = 1 ORDER BY height DESC LIMIT 1")

    def find_block(self, block_hash: str) -> StoredBlock | None:
        """Return a block, stale ones too."""
        return self._block("SELECT * FROM blocks WHERE hash = ?", block_hash)

    def find_block_at(self, height: int) -> StoredBlock | None:
        """Return the active block at a height."""
        return self._block("SELECT * FROM blocks WHERE is_active = 1 AND height = ?", height)

    def list_last_blocks(self, count: int) -> list[StoredBlock]:
        """Return the last active blocks, newest first."""
        rows = self.rows(
            "SELECT * FROM blocks WHERE is_active = 1 ORDER BY height DESC LIMIT ?",
            (count,),
        )
        return [_stored_block(row) for row in rows]

    def _block(self, sql: str, *parameters: object) -> StoredBlock | None:
        row = self.one(sql, parameters)
        return None if row is None else _stored_block(row)

    def add_block(self, block: StoredBlock) -> None:
        """Add an active block."""
        self.change(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                block.block_hash,
                block.height,
                block.header.to_bytes(),
                f"{block.chainwork:064x}",
                block.size,
                block.tx_count,
                block.fees,
                int(block.is_active),
            ),
        )

    def deactivate_block(self, block_hash: str) -> None:
        """Keep a block as a stale one."""
        self.change("UPDATE blocks SET is_active = 0 WHERE hash = ?", (block_hash,))

    # transactions

    def find_transaction(self, txid: str) -> StoredTransaction | None:
        """Return a transaction of the mempool or the active chain."""
        row = self.one("SELECT * FROM transactions WHERE txid = ?", (txid,))
        return None if row is None else _stored_transaction(row)

    def list_block_transactions(self, height: int) -> list[StoredTransaction]:
        """Return an active block's transactions in their order."""
        return self._transactions(
            "SELECT * FROM transactions WHERE height = ? ORDER BY tx_index", height
        )

    def list_block_txids(self, height: int) -> list[str]:
        """Return an active block's txids in their order."""
        rows = self.rows(
            "SELECT txid FROM transactions WHERE height = ? ORDER BY tx_index", (height,)
        )
        return [txid for (txid,) in rows]

    def list_transactions_since(self, height: int) -> list[StoredTransaction]:
        """Return what was mined from a height on, then the mempool; no coinbases."""
        return self._transactions(
            "SELECT * FROM transactions WHERE is_coinbase = 0 AND (height >= ? OR height IS NULL)"
            " ORDER BY height IS NULL, height, tx_index, position",
            height,
        )

    def list_mempool(self) -> list[StoredTransaction]:
        """Return the mempool, parents before children."""
        return self._transactions(
            "SELECT * FROM transactions WHERE height IS NULL ORDER BY position"
        )

    def mempool_size(self) -> int:
        """Count the mempool's transactions."""
        row = self.one("SELECT count(*) FROM transactions WHERE height IS NULL")
        return int(row[0]) if row else 0

    def _transactions(self, sql: str, *parameters: object) -> list[StoredTransaction]:
        return [_stored_transaction(row) for row in self.rows(sql, parameters)]

    def add_transaction(self, stored: StoredTransaction, tx: Transaction) -> None:
        """Add a transaction with its outputs and mark what it spends."""
        with self.lock:
            self.change(
                "INSERT INTO transactions (txid, raw, fee, is_coinbase, height, tx_index)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    stored.txid,
                    stored.raw,
                    stored.fee,
                    int(stored.is_coinbase),
                    stored.height,
                    stored.tx_index,
                ),
            )
            self._connection.executemany(
                "INSERT INTO outputs (txid, vout, satoshis, script, script_hash, is_data,"
                " is_coinbase, height) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                _output_rows(stored, tx),
            )
            if not stored.is_coinbase:
                self._connection.executemany(
                    "UPDATE outputs SET spent_by = ?, spent_vin = ? WHERE txid = ? AND vout = ?",
                    [
                        (stored.txid, vin, spent.outpoint.txid, spent.outpoint.vout)
                        for vin, spent in enumerate(tx.inputs)
                    ],
                )

    def place_in_block(self, txids: Iterable[str], height: int) -> None:
        """Move mempool transactions into a block, in the given order after the coinbase."""
        with self.lock:
            self._connection.executemany(
                "UPDATE transactions SET height = ?, tx_index = ? WHERE txid = ?",
                [(height, tx_index, txid) for tx_index, txid in enumerate(txids, start=1)],
            )
            self.change(
                "UPDATE outputs SET height = ?"
                " WHERE txid IN (SELECT txid FROM transactions WHERE height = ?)",
                (height, height),
            )
            self.change(
                "UPDATE outputs SET spent_height = ?"
                " WHERE spent_by IN (SELECT txid FROM transactions WHERE height = ?)",
                (height, height),
            )

    def return_to_mempool(self, height: int) -> None:
        """Take the transactions of the tip block back into the mempool."""
        self.change("UPDATE outputs SET spent_height = NULL WHERE spent_height = ?", (height,))
        self.change("UPDATE outputs SET height = NULL WHERE height = ?", (height,))
        self.change(
            "UPDATE transactions SET height = NULL, tx_index = NULL WHERE height = ?", (height,)
        )

    def remove_transaction(self, txid: str) -> None:
        """Forget a transaction whose outputs nobody spends, and free what it spends."""
        self.change("DELETE FROM transactions WHERE txid = ?", (txid,))
        self.change("DELETE FROM outputs WHERE txid = ?", (txid,))
        self.change(
            "UPDATE outputs SET spent_by = NULL, spent_vin = NULL WHERE spent_by = ?", (txid,)
        )

    # outputs

    def find_output(self, outpoint: Outpoint) -> StoredOutput | None:
        """Return an output of a known transaction, spent or not."""
        row = self.one(
            "SELECT * FROM outputs WHERE txid = ? AND vout = ?",
            (outpoint.txid, outpoint.vout),
        )
        return None if row is None else stored_output(row)

    def list_outputs(self, txid: str) -> list[StoredOutput]:
        """Return a transaction's outputs in their order."""
        rows = self.rows("SELECT * FROM outputs WHERE txid = ? ORDER BY vout", (txid,))
        return [stored_output(row) for row in rows]


def _output_rows(stored: StoredTransaction, tx: Transaction) -> list[tuple[object, ...]]:
    return [
        (
            stored.txid,
            vout,
            output.satoshis,
            output.locking_script,
            script_hash(output.locking_script),
            int(output.locking_script.startswith(DATA_PREFIX)),
            int(stored.is_coinbase),
            stored.height,
        )
        for vout, output in enumerate(tx.outputs)
    ]


def _stored_block(row: tuple[Any, ...]) -> StoredBlock:
    block_hash, height, header, chainwork, size, tx_count, fees, is_active = row
    return StoredBlock(
        block_hash,
        height,
        BlockHeader.from_bytes(header),
        int(chainwork, 16),
        size,
        tx_count,
        fees,
        bool(is_active),
    )


def _stored_transaction(row: tuple[Any, ...]) -> StoredTransaction:
    _, txid, raw, fee, is_coinbase, height, tx_index = row
    return StoredTransaction(txid, raw, fee, bool(is_coinbase), height, tx_index)


def stored_output(row: tuple[Any, ...]) -> StoredOutput:
    """Read a whole row of `outputs`."""
    txid, vout, satoshis, script, _script_hash, is_data, is_coinbase, *rest = row
    height, spent_by, spent_vin, spent_height = rest
    return StoredOutput(
        txid,
        vout,
        satoshis,
        script,
        bool(is_data),
        bool(is_coinbase),
        height,
        spent_by,
        spent_vin,
        spent_height,
    )
