"""Coinbases and headers."""

import pytest

from app.bitcoin.merkle import merkle_root
from devnet.chain.blocks import (
    BITS,
    build_coinbase,
    describe_block,
    genesis,
    median_time_past,
    mine_header,
)


def test_genesis_is_regtests():
    block, coinbase = genesis()
    assert block.block_hash == "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    assert block.header.merkle_root == coinbase.txid
    assert block.chainwork == 2


@pytest.mark.parametrize(
    ("height", "prefix"),
    [(1, "51"), (16, "60"), (17, "0111"), (127, "017f"), (128, "028000"), (70_000, "03701101")],
)
def test_coinbase_begins_with_its_height(height, prefix):
    coinbase = build_coinbase(height, 5, b"\x51")
    assert coinbase.inputs[0].unlocking_script.hex().startswith(prefix)


def test_two_coinbases_of_one_height_differ():
    assert build_coinbase(7, 5, b"\x51").txid != build_coinbase(7, 5, b"\x51").txid


def test_header_has_work_root_link_and_a_time_after_the_median():
    blocks = [genesis()[0]]
    for height in range(1, 30):
        txids = [f"{height:064x}", "ab" * 32]
        header = mine_header(blocks, txids)
        assert header.has_proof_of_work(BITS)
        assert header.merkle_root == merkle_root(txids)
        assert header.previous_block_hash == blocks[0].block_hash
        assert header.timestamp > median_time_past(blocks)
        blocks.insert(0, describe_block(header, height, blocks[0].chainwork, [100, 100], 0))
    assert blocks[0].chainwork == 60
    assert blocks[0].size == 281
