"""Proofs that a transaction is mined: a path to the root of a header with proof of work."""

from __future__ import annotations

import logging

from app import extensions
from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.merkle import MerklePath
from app.clients.chain_types import HeaderAt
from app.clients.outcomes import UnexpectedAnswerError
from app.domain.inclusion import Inclusion, find_inclusion_problem
from app.logs import chain_event
from app.models.transaction import MerkleProofField

logger = logging.getLogger(__name__)


def find(txid: str, headers: dict[str, HeaderAt]) -> MerkleProofField | None:
    """Fetches the path and checks it against its header; None, and a log line, where it fails.

    `headers` are those that were checked before, by the hash of their block.

    Raises:
        ServiceUnavailableError: the chain service gave no usable answer.
    """
    tsc = extensions.get().chain.find_proof(txid)
    if tsc is None:
        return None
    at = _get_linked_header(tsc.block_hash, headers)
    network = extensions.get().settings.woc_network
    try:
        path = MerklePath.from_tsc(at.height, txid, tsc.index, tsc.nodes).to_bytes()
        inclusion = Inclusion(at.block_hash, at.height, path, at.header.to_bytes())
        problem = find_inclusion_problem(txid, inclusion, network)
    except BitcoinFormatError as error:
        problem = str(error)
    if problem is not None:
        logger.warning(
            "merkle proof refused: %s",
            problem,
            extra=chain_event("proof_refused", txid, reason=problem),
        )
        return None
    return MerkleProofField(
        block_hash=inclusion.block_hash,
        block_height=inclusion.block_height,
        tx_index=tsc.index,
        merkle_path=inclusion.merkle_path,
        block_header=inclusion.block_header,
    )


def _get_linked_header(block_hash: str, headers: dict[str, HeaderAt]) -> HeaderAt:
    """The header of a block that stands on the best chain and links to it.

    Raises:
        UnexpectedAnswerError: it does not, so the block is off the chain or made up.
    """
    if block_hash not in headers:
        chain = extensions.get().chain
        at = chain.get_header(block_hash)
        best = chain.get_header(at.height)
        below = chain.get_header(at.height - 1)
        if (best.block_hash, below.block_hash) != (block_hash, at.header.previous_block_hash):
            raise UnexpectedAnswerError(chain.name, f"block {block_hash} is not on the best chain")
        headers[block_hash] = at
    return headers[block_hash]
