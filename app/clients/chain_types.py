"""What a chain service can tell about transactions, outputs and blocks, already checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from app.bitcoin.headers import BlockHeader

ChainStatusKind = Literal["mined", "mempool", "unknown"]


@dataclass(frozen=True)
class ChainStatus:
    """Where a transaction is; the block fields are set only for "mined"."""

    kind: ChainStatusKind
    block_hash: str | None = None
    block_height: int | None = None
    confirmations: int = 0


@dataclass(frozen=True)
class TscProof:
    """A merkle proof in TSC form: siblings leaf to root, "*" doubles the running hash.

    Nothing here is proven yet: fold it and compare with the header of `block_hash`.
    """

    txid: str
    index: int
    block_hash: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class HeaderAt:
    """A block header and the height at which the service says it stands."""

    header: BlockHeader
    height: int
    block_hash: str


@dataclass(frozen=True)
class ChainInfo:
    """The service's tip."""

    chain: str
    tip_height: int
    tip_hash: str


@dataclass(frozen=True)
class UnspentOutput:
    """One output that the service lists as unspent; `height` is None while it is unconfirmed.

    `locking_script` is given for unconfirmed outputs only, and need not be the address's own.
    """

    txid: str
    vout: int
    satoshis: int
    height: int | None
    is_spent_in_mempool: bool
    locking_script: bytes | None = None


@dataclass(frozen=True)
class Spend:
    """The input that spends an output."""

    txid: str
    vin: int
    is_confirmed: bool


class OutputState(Enum):
    """The two ways for an output to have no spend."""

    UNSPENT = "unspent"
    OUTPUT_UNKNOWN = "output_unknown"


SpentOutcome = Spend | OutputState
UNSPENT = OutputState.UNSPENT
OUTPUT_UNKNOWN = OutputState.OUTPUT_UNKNOWN

CHAIN_NAMES: Mapping[str, frozenset[str]] = {
    "main": frozenset({"main"}),
    "test": frozenset({"test"}),
    # The devnet serves its own chain behind the test network's paths.
    "regtest": frozenset({"regtest", "test"}),
}
