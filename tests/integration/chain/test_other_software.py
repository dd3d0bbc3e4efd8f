"""The chain and bsv-sdk agree on transactions, scripts and proofs."""

import asyncio

import bsv
from bsv.chaintracker import ChainTracker
from bsv.merkle_path import MerklePath


class HeaderTracker(ChainTracker):
    """Believes a merkle root that the chain's header at the height has."""

    def __init__(self, chain):
        self.chain = chain
        self.asked = 0

    async def is_valid_root_for_height(self, root, height):
        self.asked += 1
        return self.chain.woc(f"/block/{height}/header").json()["merkleroot"] == root

    async def current_height(self):
        return self.chain.woc("/chain/info").json()["blocks"]


def read(chain, txid):
    return bsv.Transaction.from_hex(chain.woc(f"/tx/{txid}/hex").text)


def test_sdk_verifies_a_spend_down_to_the_header(chain, wallet):
    coins = wallet.fund(outputs=3)
    parent = wallet.spend(coins[:2])
    chain.arc("/tx", {"rawTx": parent.to_extended_hex()})
    chain.mine()
    child = wallet.spend([wallet.change_of(parent)], b"child")
    assert chain.send(child) == child.txid
    sdk_parent, sdk_child = read(chain, parent.txid), read(chain, child.txid)
    assert (sdk_parent.txid(), sdk_child.txid()) == (parent.txid, child.txid)
    bump = chain.arc(f"/tx/{parent.txid}").json()["merklePath"]
    sdk_parent.merkle_path = MerklePath.from_hex(bump)
    sdk_child.inputs[0].source_transaction = sdk_parent
    tracker = HeaderTracker(chain)
    assert asyncio.run(sdk_child.verify(tracker)) is True
    assert tracker.asked == 1


def test_sdk_verifies_the_scripts_of_every_input(chain, wallet):
    coins = wallet.fund(outputs=4)
    tx = wallet.spend(coins)
    assert chain.send(tx) == tx.txid
    chain.mine()
    sdk_tx, source = read(chain, tx.txid), read(chain, coins[0].outpoint.txid)
    source.merkle_path = _path_of(chain, source.txid())
    for tx_input in sdk_tx.inputs:
        tx_input.source_transaction = source
    assert asyncio.run(sdk_tx.verify(HeaderTracker(chain))) is True


def _path_of(chain, txid):
    tx = bsv.Transaction.from_hex(chain.woc(f"/tx/{txid}/hex").text)
    chain.arc("/tx", {"rawTx": tx.hex()})
    return MerklePath.from_hex(chain.arc(f"/tx/{txid}").json()["merklePath"])


def test_sdk_refuses_what_the_chain_refuses(chain, wallet):
    coins = wallet.fund()
    chain.mine()
    source = read(chain, coins[0].outpoint.txid)
    source.merkle_path = _path_of(chain, source.txid())
    tx = wallet.spend(coins)
    script = tx.inputs[0].unlocking_script
    broken = tx.with_unlocking_scripts([script[:20] + bytes([script[20] ^ 1]) + script[21:]])
    assert chain.send(broken).startswith("16: mandatory-script-verify-flag-failed")
    sdk_tx = bsv.Transaction.from_hex(broken.to_hex())
    sdk_tx.inputs[0].source_transaction = source
    assert asyncio.run(sdk_tx.verify(HeaderTracker(chain))) is False


def test_sdk_signs_what_the_chain_accepts(chain, wallet):
    coins = wallet.fund(10_000)
    source = read(chain, coins[0].outpoint.txid)
    key = bsv.PrivateKey(wallet.key.to_bytes())
    tx = bsv.Transaction(
        tx_inputs=[
            bsv.TransactionInput(
                source_transaction=source,
                source_output_index=coins[0].outpoint.vout,
                unlocking_script_template=bsv.P2PKH().unlock(key),
            )
        ],
        tx_outputs=[
            bsv.TransactionOutput(bsv.P2PKH().lock(key.public_key().address()), 9_900),
        ],
    )
    tx.sign()
    assert chain.send(tx.hex()) == tx.txid()
