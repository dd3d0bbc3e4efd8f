"""Whether a transaction is in a block: path, root and proof of work, checked from bytes alone."""

from __future__ import annotations

from dataclasses import dataclass

from app.bitcoin.addresses import Network
from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.headers import EASIEST_BITS, BlockHeader
from app.bitcoin.merkle import MerklePath


@dataclass(frozen=True)
class Inclusion:
    """A merkle path (BRC-74), the header of 80 bytes that it leads to, and which block that is."""

    block_hash: str
    block_height: int
    merkle_path: bytes
    block_header: bytes


def find_inclusion_problem(txid: str, inclusion: Inclusion, network: Network) -> str | None:
    """Tells what is wrong with a proof that a transaction was mined; None where it holds."""
    try:
        header = BlockHeader.from_bytes(inclusion.block_header)
        path = MerklePath.from_bytes(inclusion.merkle_path)
        root = path.root(txid)
    except BitcoinFormatError as error:
        return str(error)
    if (header.block_hash, path.block_height) != (inclusion.block_hash, inclusion.block_height):
        return "the proof is not about the block that is named"
    if root != header.merkle_root:
        return "the merkle path does not lead to the block's root"
    if not header.has_proof_of_work(EASIEST_BITS[network]):
        return "the block header lacks its proof of work"
    return None
