"""A proof of being mined holds by its bytes alone, or says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.bitcoin.addresses import Network
from app.bitcoin.headers import BlockHeader
from app.bitcoin.merkle import MerklePath, merkle_branch, merkle_root
from app.domain.inclusion import Inclusion, find_inclusion_problem

TXIDS = [f"{number:064x}" for number in range(1, 6)]
TXID = TXIDS[2]


def mined(bits: int) -> Inclusion:
    """A block of five transactions with as much work as `bits` asks for."""
    path = MerklePath.from_branch(7, TXID, 2, merkle_branch(TXIDS, 2))
    header = BlockHeader(1, "00" * 32, merkle_root(TXIDS), 1_700_000_000, bits, 0)
    while not header.has_proof_of_work(bits):
        header = replace(header, nonce=header.nonce + 1)
    return Inclusion(header.block_hash, 7, path.to_bytes(), header.to_bytes())


EASY = mined(0x207FFFFF)


def test_a_good_proof_holds() -> None:
    assert find_inclusion_problem(TXID, EASY, Network.REGTEST) is None


@pytest.mark.parametrize("network", [Network.MAIN, Network.TEST])
def test_the_work_of_a_regtest_block_is_not_enough_elsewhere(network: Network) -> None:
    problem = find_inclusion_problem(TXID, EASY, network)
    assert problem is not None
    assert "proof of work" in problem


def test_the_work_of_the_first_blocks_is_not_enough_on_main_any_more() -> None:
    vectors = Path(__file__).parents[2] / "vectors" / "headers.json"
    genesis = json.loads(vectors.read_text())["genesis_main"]
    header = BlockHeader.from_hex(genesis["header"])
    assert header.block_hash == genesis["hash"]
    path = MerklePath.from_branch(0, header.merkle_root, 0, [])

    inclusion = Inclusion(header.block_hash, 0, path.to_bytes(), header.to_bytes())

    problem = find_inclusion_problem(header.merkle_root, inclusion, Network.MAIN)

    assert problem is not None
    assert "proof of work" in problem


def test_another_transaction_is_not_proven() -> None:
    assert find_inclusion_problem("ab" * 32, EASY, Network.REGTEST) is not None


@pytest.mark.parametrize("cut", [0, 1, 79])
def test_a_cut_header_is_said_to_be_one(cut: int) -> None:
    problem = find_inclusion_problem(
        TXID, replace(EASY, block_header=EASY.block_header[:cut]), Network.REGTEST
    )
    assert problem is not None
    assert "header" in problem


def test_another_root_is_refused() -> None:
    other = BlockHeader.from_bytes(EASY.block_header)
    changed = replace(other, merkle_root="cd" * 32)
    inclusion = replace(EASY, block_hash=changed.block_hash, block_header=changed.to_bytes())
    problem = find_inclusion_problem(TXID, inclusion, Network.REGTEST)
    assert problem == "the merkle path does not lead to the block's root"


@pytest.mark.parametrize("change", [{"block_hash": "ef" * 32}, {"block_height": 8}])
def test_a_proof_about_another_block_is_refused(change: dict[str, Any]) -> None:
    problem = find_inclusion_problem(TXID, replace(EASY, **change), Network.REGTEST)
    assert problem == "the proof is not about the block that is named"
