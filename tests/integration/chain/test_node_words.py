"""Each row of what a real node was measured to answer, through WhatsOnChain's wire."""

from dataclasses import replace

import pytest

from app.bitcoin.keys import N
from app.bitcoin.scripts import data_locking_script, p2pkh_unlocking_script, push
from app.bitcoin.sighash import sighash, sighashes
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput


def high_s(signature: bytes) -> bytes:
    """Return the other valid signature of the same key and digest."""
    r_size = signature[3]
    r = signature[4 : 4 + r_size]
    s = N - int.from_bytes(signature[6 + r_size :], "big")
    s_bytes = s.to_bytes(33, "big").lstrip(b"\x00")
    s_bytes = b"\x00" + s_bytes if s_bytes[0] & 0x80 else s_bytes
    body = b"\x02" + bytes([r_size]) + r + b"\x02" + bytes([len(s_bytes)]) + s_bytes
    return b"\x30" + bytes([len(body)]) + body


def unlocked(wallet, tx, signature, sighash_type=0x41):
    script = p2pkh_unlocking_script(signature, wallet.key.public_key.to_bytes(), sighash_type)
    return tx.with_unlocking_scripts([script])


def test_valid_spend_with_data_and_change_answers_its_txid(chain, wallet):
    tx = wallet.spend(wallet.fund())
    assert chain.send(tx) == tx.txid


def test_same_bytes_in_the_mempool_are_already_there(chain, wallet):
    tx = wallet.spend(wallet.fund())
    chain.send(tx)
    assert chain.send(tx) == "Transaction already in the mempool"


def test_same_bytes_mined_with_unspent_change_are_already_known(chain, wallet):
    tx = wallet.spend(wallet.fund())
    chain.send(tx)
    chain.mine()
    assert chain.send(tx) == "257: txn-already-known"


def test_same_bytes_mined_with_change_spent_in_the_mempool_are_already_known(chain, wallet):
    tx = wallet.spend(wallet.fund())
    chain.send(tx)
    chain.mine()
    child = wallet.spend([wallet.change_of(tx)])
    assert chain.send(child) == child.txid
    assert chain.send(tx) == "257: txn-already-known"


def test_same_bytes_mined_with_change_spent_in_a_block_miss_their_inputs(chain, wallet):
    tx = wallet.spend(wallet.fund())
    chain.send(tx)
    chain.send(wallet.spend([wallet.change_of(tx)]))
    chain.mine()
    assert chain.send(tx) == "Missing inputs"
    assert chain.status(tx.txid)["confirmations"] == 1


def test_second_spend_of_an_input_spent_in_the_mempool_conflicts(chain, wallet):
    coins = wallet.fund()
    chain.send(wallet.spend(coins, b"first"))
    assert chain.send(wallet.spend(coins, b"second")) == "258: txn-mempool-conflict"


def test_spend_of_an_output_spent_in_a_block_misses_its_inputs(chain, wallet):
    coins = wallet.fund()
    chain.send(wallet.spend(coins, b"first"))
    chain.mine()
    assert chain.send(wallet.spend(coins, b"second")) == "Missing inputs"


def test_spend_of_an_unknown_txid_misses_its_inputs(chain, wallet):
    assert chain.send(wallet.spend([wallet.coin("ab" * 32, 0, 5000)])) == "Missing inputs"


def test_spend_of_an_output_that_the_parent_lacks_misses_its_inputs(chain, wallet):
    (coin,) = wallet.fund()
    assert chain.send(wallet.spend([wallet.coin(coin.outpoint.txid, 9, 5000)])) == "Missing inputs"


def test_spend_of_a_data_output_misses_its_inputs(chain, wallet):
    tx = wallet.spend(wallet.fund())
    chain.send(tx)
    data = TxInput(Outpoint(tx.txid, 0), tx.outputs[0], push(b"x"))
    spend = Transaction((data,), (TxOutput(0, data_locking_script([b"y"])),))
    assert chain.send(spend) == "Missing inputs"


def test_wrong_signature(chain, wallet):
    tx = wallet.draft(wallet.fund())
    wrong = unlocked(wallet, tx, wallet.key.sign(bytes(32)))
    assert chain.send(wrong) == (
        "16: mandatory-script-verify-flag-failed "
        "(Signature must be zero for failed CHECK(MULTI)SIG operation)"
    )


def test_high_s(chain, wallet):
    tx = wallet.draft(wallet.fund())
    malleated = unlocked(wallet, tx, high_s(wallet.key.sign(sighashes(tx)[0])))
    assert chain.send(malleated) == (
        "16: mandatory-script-verify-flag-failed "
        "(Non-canonical signature: S value is unnecessarily high)"
    )


def test_hash_type_without_fork_id(chain, wallet):
    tx = wallet.draft(wallet.fund())
    plain = unlocked(wallet, tx, wallet.key.sign(sighashes(tx)[0]), 0x01)
    assert chain.send(plain) == (
        "16: mandatory-script-verify-flag-failed (Signature must use SIGHASH_FORKID)"
    )


@pytest.mark.parametrize("sighash_type", [0xC1, 0x42])
def test_other_hash_types_with_fork_id_are_accepted(chain, wallet, sighash_type):
    tx = wallet.draft(wallet.fund())
    signed = unlocked(wallet, tx, wallet.key.sign(sighash(tx, 0, sighash_type)), sighash_type)
    assert chain.send(signed) == signed.txid


def test_outputs_above_inputs(chain, wallet):
    assert chain.send(wallet.spend(wallet.fund(), fee=-1)) == "16: bad-txns-in-belowout"


@pytest.mark.parametrize("text", ["", "xyz", "0", "00", "01000000"])
def test_no_transaction_fails_to_decode(chain, text):
    assert chain.send(text) == "TX decode failed"


def test_transaction_cut_short_or_too_long_fails_to_decode(chain, wallet):
    raw_tx_hex = wallet.spend(wallet.fund()).to_hex()
    assert chain.send(raw_tx_hex[:-2]) == "TX decode failed"
    assert chain.send(raw_tx_hex + "00") == "TX decode failed"
    assert chain.send(" " + raw_tx_hex) == "TX decode failed"


def test_extended_format_fails_to_decode(chain, wallet):
    assert chain.send(wallet.spend(wallet.fund()).to_extended_hex()) == "TX decode failed"


def test_future_locktime_answers_a_txid_and_is_then_unknown(chain, wallet):
    (coin,) = wallet.fund()
    height = chain.control("/stats")["height"]
    draft = replace(wallet.draft([replace(coin, sequence=0)]), locktime=height + 2)
    tx = wallet.sign(draft)
    assert chain.send(tx) == tx.txid
    assert chain.status(tx.txid) == {"txid": tx.txid, "error": "unknown"}
    assert chain.woc(f"/tx/{tx.txid}/hex").status_code == 404
    assert chain.woc(f"/tx/{coin.outpoint.txid}/{coin.outpoint.vout}/spent").status_code == 404
    chain.mine(2)
    assert chain.status(tx.txid) == {"txid": tx.txid}
    chain.mine()
    assert chain.status(tx.txid)["confirmations"] == 1


def test_future_locktime_with_final_sequences_is_accepted(chain, wallet):
    tx = wallet.sign(replace(wallet.draft(wallet.fund()), locktime=400_000_000))
    assert chain.send(tx) == tx.txid
    assert chain.status(tx.txid) == {"txid": tx.txid}


def test_data_output_with_satoshis_is_accepted(chain, wallet):
    tx = wallet.draft(wallet.fund())
    outputs = (replace(tx.outputs[0], satoshis=10), replace(tx.outputs[1], satoshis=9000))
    tx = wallet.sign(replace(tx, outputs=outputs))
    assert chain.send(tx) == tx.txid


def test_output_of_one_satoshi_is_accepted(chain, wallet):
    tx = wallet.draft(wallet.fund())
    tx = wallet.sign(replace(tx, outputs=(*tx.outputs[:1], TxOutput(1, wallet.script))))
    assert chain.send(tx) == tx.txid


def test_bare_op_return_is_accepted(chain, wallet):
    tx = wallet.draft(wallet.fund())
    tx = wallet.sign(replace(tx, outputs=(TxOutput(0, b"\x6a\x01x"), tx.outputs[1])))
    assert chain.send(tx) == tx.txid


def test_200_kilobytes_of_data_are_accepted(chain, wallet):
    tx = wallet.spend(wallet.fund(50_000), b"x" * 200_000, fee=11_000)
    assert chain.send(tx) == tx.txid


def test_chain_of_60_unconfirmed_is_accepted_and_mined_in_one_block(chain, wallet):
    (coin,) = wallet.fund(20_000)
    txids = []
    for _ in range(60):
        tx = wallet.spend([coin])
        assert chain.send(tx) == tx.txid
        txids.append(tx.txid)
        coin = wallet.change_of(tx)
    block_hash = chain.mine()["blocks"][0]
    assert {chain.status(txid)["blockhash"] for txid in txids} == {block_hash}


# What no row measured, in the words of the node's source.


def test_fee_below_the_floor(chain, wallet):
    assert chain.send(wallet.spend(wallet.fund(), fee=0)) == "66: mempool min fee not met"


def test_fee_beyond_reason(chain, wallet):
    tx = wallet.spend(wallet.fund(20_000_000), fee=10_000_001)
    assert chain.send(tx) == "256: absurdly-high-fee"


def test_same_input_twice(chain, wallet):
    tx = wallet.spend(wallet.fund() * 2)
    assert chain.send(tx) == "16: bad-txns-inputs-duplicate"


def test_no_inputs_and_no_outputs(chain, wallet):
    tx = wallet.draft(wallet.fund())
    assert chain.send(replace(tx, inputs=())) == "16: bad-txns-vin-empty"
    assert chain.send(replace(tx, outputs=())) == "16: bad-txns-vout-empty"


@pytest.mark.parametrize(
    ("satoshis", "words"),
    [
        (-1, "16: bad-txns-vout-negative"),
        (21_000_000 * 10**8 + 1, "16: bad-txns-vout-toolarge"),
    ],
)
def test_value_out_of_range(chain, wallet, satoshis, words):
    tx = wallet.spend(wallet.fund())
    value = tx.outputs[1].satoshis.to_bytes(8, "little").hex()
    bad = satoshis.to_bytes(8, "little", signed=True).hex()
    assert chain.send(tx.to_hex().replace(value, bad)) == words


def test_sum_of_values_out_of_range(chain, wallet):
    tx = wallet.draft(wallet.fund())
    outputs = (TxOutput(20_000_000 * 10**8, wallet.script),) * 2
    assert chain.send(replace(tx, outputs=outputs)) == "16: bad-txns-txouttotal-toolarge"


def test_pay_to_script_hash_is_history(chain, wallet):
    tx = wallet.draft(wallet.fund())
    outputs = (TxOutput(1000, b"\xa9\x14" + bytes(20) + b"\x87"),)
    assert chain.send(wallet.sign(replace(tx, outputs=outputs))) == "16: bad-txns-vout-p2sh"


def test_coinbases_are_not_for_sending_and_not_for_spending_young(chain, wallet):
    block_hash = chain.mine()["blocks"][0]
    coinbase = chain.woc(f"/block/hash/{block_hash}").json()["tx"][0]
    assert chain.send(chain.woc(f"/tx/{coinbase}/hex").text) == "16: bad-tx-coinbase"
    young = wallet.spend([wallet.coin(coinbase, 0, 50 * 10**8)])
    assert chain.send(young) == "16: bad-txns-premature-spend-of-coinbase"
    chain.mine(98)
    assert chain.send(young) == "16: bad-txns-premature-spend-of-coinbase"
    chain.mine(1)
    # Mature now; what is left to complain about is the key.
    assert chain.send(young).startswith("16: mandatory-script-verify-flag-failed")


def test_unlocking_script_that_computes_is_refused(chain, wallet):
    tx = wallet.spend(wallet.fund())
    script = b"\x61" + tx.inputs[0].unlocking_script
    assert chain.send(tx.with_unlocking_scripts([script])).startswith(
        "16: mandatory-script-verify-flag-failed (Only non-push operators"
    )
