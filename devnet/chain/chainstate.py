"""The chain of one node: its blocks, its mempool and what moves transactions between them."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.bitcoin.merkle import merkle_branch
from devnet.chain.blocks import (
    SUBSIDY_SATOSHIS,
    build_coinbase,
    coinbase_row,
    describe_block,
    genesis,
    mine_header,
)
from devnet.chain.mempool import Mempool
from devnet.chain.rows import StoredBlock, StoredTransaction
from devnet.chain.store import Store


class ChainRequestError(ValueError):
    """The chain can't do what it is asked for; the text says why."""


@dataclass(frozen=True)
class Reorganisation:
    """What a reorganisation did."""

    height: int
    blocks: list[str]
    stale_blocks: list[str]
    returned: list[str]
    dropped: list[str]


@dataclass(frozen=True)
class Place:
    """Where a mined transaction is, with the siblings that lead to the merkle root.

    `branch` runs from leaf to root, None where the running hash is doubled.
    """

    block: StoredBlock
    tx_index: int
    branch: list[str | None]


class Chain:
    """One node's view of the world, in one store."""

    def __init__(
        self, store: Store, miner_script: bytes, minimum_satoshis_per_kilobyte: int
    ) -> None:
        self.store = store
        self.mempool = Mempool(store, minimum_satoshis_per_kilobyte)
        self._miner_script = miner_script
        if store.find_tip() is None:
            self._begin()

    def _begin(self) -> None:
        block, coinbase = genesis()
        with self.store.transaction():
            self.store.add_block(block)
            self.store.add_transaction(coinbase_row(coinbase, 0), coinbase)
            # A quirk of every network: the first coinbase is not among the unspent outputs.
            self.store.change("DELETE FROM outputs WHERE txid = ?", (coinbase.txid,))

    @property
    def tip(self) -> StoredBlock:
        """The highest block."""
        tip = self.store.find_tip()
        if tip is None:
            raise ChainRequestError("The chain has no block.")
        return tip

    def confirmations(self, height: int | None) -> int:
        """Return how many blocks confirm a height; 0 when unmined."""
        return 0 if height is None else self.tip.height - height + 1

    def mine(self, count: int) -> list[StoredBlock]:
        """Mine blocks, the first of which takes the whole mempool."""
        blocks = []
        for _ in range(count):
            with self.store.transaction():
                blocks.append(self._add_block(self.store.list_mempool()))
                self.mempool.release_final()
        return blocks

    def _add_block(self, selected: Sequence[StoredTransaction]) -> StoredBlock:
        last_blocks = self.store.list_last_blocks(11)
        height = last_blocks[0].height + 1
        fees = sum(each.fee for each in selected)
        coinbase = build_coinbase(height, SUBSIDY_SATOSHIS + fees, self._miner_script)
        txids = [coinbase.txid, *(each.txid for each in selected)]
        header = mine_header(last_blocks, txids)
        sizes = [coinbase.size, *(len(each.raw) for each in selected)]
        block = describe_block(header, height, last_blocks[0].chainwork, sizes, fees)
        self.store.add_block(block)
        self.store.place_in_block(txids[1:], height)
        self.store.add_transaction(coinbase_row(coinbase, height), coinbase)
        return block

    def reorganise(self, depth: int, drop: Sequence[str] = ()) -> Reorganisation:
        """Replace the last `depth` blocks by `depth + 1` blocks without transactions.

        What the old blocks held waits in the mempool again, but for `drop` and for what spends
        an old block's coinbase: those and their descendants are unknown from now on.
        """
        with self.store.transaction():
            if not 1 <= depth <= self.tip.height:
                raise ChainRequestError(f"depth is a number from 1 to {self.tip.height}.")
            stale, returned, coinbases = self._disconnect(depth)
            unknown = sorted(set(drop) - set(returned))
            if unknown:
                raise ChainRequestError(f"Not in the last {depth} blocks: {', '.join(unknown)}.")
            gone = self.mempool.remove([*coinbases, *drop], "reorganised")
            blocks = [self._add_block([]).block_hash for _ in range(depth + 1)]
            self.mempool.release_final()
            return Reorganisation(
                self.tip.height,
                blocks,
                [block.block_hash for block in stale],
                [txid for txid in returned if txid not in gone],
                [txid for txid in gone if txid not in coinbases],
            )

    def _disconnect(self, depth: int) -> tuple[list[StoredBlock], list[str], list[str]]:
        """Return the stale blocks, newest first, their transactions and their coinbases."""
        stale = self.store.list_last_blocks(depth)
        mined = [
            each
            for block in reversed(stale)
            for each in self.store.list_block_transactions(block.height)
        ]
        for block in stale:
            self.store.return_to_mempool(block.height)
            self.store.deactivate_block(block.block_hash)
        returned = [each.txid for each in mined if not each.is_coinbase]
        return stale, returned, [each.txid for each in mined if each.is_coinbase]

    def evict(self, txids: Sequence[str] | None) -> list[str]:
        """Take transactions, None for all, and their descendants out of the mempool."""
        with self.store.transaction():
            if txids is None:
                txids = [each.txid for each in self.store.list_mempool()]
            return self.mempool.remove(list(txids), "evicted")

    def find_place(self, txid: str) -> Place | None:
        """Return where a transaction was mined, None while it was not."""
        with self.store.lock:
            stored = self.store.find_transaction(txid)
            if stored is None or stored.height is None or stored.tx_index is None:
                return None
            block = self.store.find_block_at(stored.height)
            if block is None:
                return None
            txids = self.store.list_block_txids(stored.height)
            return Place(block, stored.tx_index, merkle_branch(txids, stored.tx_index))
