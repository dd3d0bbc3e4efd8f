"""Blocks of a regtest chain: real coinbases, merkle roots and proof of work."""

import secrets
import time
from collections.abc import Sequence

from app.bitcoin.addresses import Network
from app.bitcoin.headers import GENESIS_REGTEST, POW_LIMIT_BITS, BlockHeader, work
from app.bitcoin.merkle import merkle_root
from app.bitcoin.scripts import push
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from devnet.chain.rows import StoredBlock, StoredTransaction
from devnet.chain.rules import NULL_TXID

COINBASE_MATURITY = 100
SUBSIDY_SATOSHIS = 50 * 100_000_000  # never halved, so that the faucet never runs dry
BITS = POW_LIMIT_BITS[Network.REGTEST]
BLOCK_VERSION = 0x20000000
_MEDIAN_BLOCKS = 11
# The coinbase of every network's first block (bitcoin `chainparams.cpp`).
_GENESIS_COINBASE = (
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff"
    "001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e"
    "6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104"
    "678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51e"
    "c112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)


def genesis() -> tuple[StoredBlock, Transaction]:
    """Return the first block of regtest and its coinbase, whose output nobody can spend."""
    coinbase = Transaction.from_hex(_GENESIS_COINBASE)
    header = GENESIS_REGTEST
    return describe_block(header, 0, 0, [coinbase.size], 0), coinbase


def build_coinbase(height: int, satoshis: int, locking_script: bytes) -> Transaction:
    """Return the transaction that pays a block's miner; BIP34 and a random tail make it unique."""
    size = (height.bit_length() + 8) // 8
    unlocking_script = push(height.to_bytes(size, "little")) + push(secrets.token_bytes(8))
    source = TxInput(Outpoint(NULL_TXID, 0xFFFFFFFF), unlocking_script=unlocking_script)
    return Transaction((source,), (TxOutput(satoshis, locking_script),))


def mine_header(last_blocks: Sequence[StoredBlock], txids: Sequence[str]) -> BlockHeader:
    """Find the header that puts `txids` on top of the last blocks, which come newest first."""
    timestamp = max(int(time.time()), median_time_past(last_blocks) + 1)
    root = merkle_root(txids)
    nonce = 0
    while True:
        header = BlockHeader(BLOCK_VERSION, last_blocks[0].block_hash, root, timestamp, BITS, nonce)
        if header.has_proof_of_work(BITS):
            return header
        nonce += 1


def median_time_past(last_blocks: Sequence[StoredBlock]) -> int:
    """Return the median time of up to 11 blocks, which come newest first (BIP113)."""
    times = sorted(block.header.timestamp for block in last_blocks[:_MEDIAN_BLOCKS])
    return times[len(times) // 2]


def describe_block(
    header: BlockHeader, height: int, chainwork_before: int, sizes: Sequence[int], fees: int
) -> StoredBlock:
    """Return the stored form of an active block of transactions of these sizes in bytes."""
    count = len(sizes)
    varint_size = 1 if count < 0xFD else 3 if count <= 0xFFFF else 5
    return StoredBlock(
        header.block_hash,
        height,
        header,
        chainwork_before + work(header.bits),
        80 + varint_size + sum(sizes),
        count,
        fees,
        True,
    )


def coinbase_row(coinbase: Transaction, height: int) -> StoredTransaction:
    """Return the stored form of a block's coinbase."""
    return StoredTransaction(coinbase.txid, coinbase.to_bytes(), 0, True, height, 0)
