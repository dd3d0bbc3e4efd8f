"""Rows of the chain's database as typed values."""

from dataclasses import dataclass

from app.bitcoin.headers import BlockHeader


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block of the active chain or, after a reorganisation, a stale one."""

    block_hash: str
    height: int
    header: BlockHeader
    chainwork: int
    size: int
    tx_count: int
    fees: int
    is_active: bool


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A transaction of the mempool (no height) or of an active block."""

    txid: str
    raw: bytes
    fee: int
    is_coinbase: bool
    height: int | None
    tx_index: int | None


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output of a known transaction and, once spent, who spends it."""

    txid: str
    vout: int
    satoshis: int
    script: bytes
    is_data: bool
    is_coinbase: bool
    height: int | None
    spent_by: str | None
    spent_vin: int | None
    spent_height: int | None

    @property
    def is_spent_in_mempool(self) -> bool:
        """Tell a spend that no block holds yet."""
        return self.spent_by is not None and self.spent_height is None
