"""Reorganisations, evictions, and what both leave behind."""

import pytest


def mined(chain, wallet, count=1):
    txs = [wallet.spend([coin]) for coin in wallet.fund(outputs=count)]
    chain.mine()
    for tx in txs:
        chain.send(tx)
    block_hash = chain.mine()["blocks"][0]
    return txs, block_hash


def test_transactions_go_back_to_the_mempool_and_into_the_next_block(chain, wallet):
    (tx,), old_block = mined(chain, wallet)
    before = chain.control("/stats")["height"]
    done = chain.control("/reorg", {"depth": 1})
    assert done["height"] == before + 1
    assert done["stale"] == [old_block]
    assert (done["returned"], done["dropped"]) == ([tx.txid], [])
    assert chain.status(tx.txid) == {"txid": tx.txid}
    assert chain.woc(f"/tx/{tx.txid}/proof/tsc").json() is None
    new_block = chain.mine()["blocks"][0]
    assert chain.status(tx.txid)["blockhash"] == new_block


def test_stale_blocks_are_known_by_hash_and_gone_by_height(chain, wallet):
    _, old_block = mined(chain, wallet)
    height = chain.woc(f"/block/{old_block}/header").json()["height"]
    done = chain.control("/reorg", {"depth": 1})
    stale = chain.woc(f"/block/{old_block}/header").json()
    assert (stale["confirmations"], stale["height"]) == (-1, height)
    assert "nextblockhash" not in stale
    current = chain.woc(f"/block/{height}/header").json()
    assert current["hash"] == done["blocks"][0]
    assert current["previousblockhash"] == stale["previousblockhash"]
    assert int(chain.woc("/chain/info").json()["chainwork"], 16) > int(stale["chainwork"], 16)


def test_dropped_transactions_and_their_descendants_are_unknown(chain, wallet):
    (parent, bystander), _ = mined(chain, wallet, 2)
    child = wallet.spend([wallet.change_of(parent)])
    chain.send(child)
    done = chain.control("/reorg", {"depth": 1, "drop": [parent.txid]})
    assert done["returned"] == [bystander.txid]
    assert set(done["dropped"]) == {parent.txid, child.txid}
    for tx in (parent, child):
        assert chain.status(tx.txid)["error"] == "unknown"
    chain.mine()
    assert chain.status(bystander.txid)["confirmations"] == 1
    assert chain.send(child) == "Missing inputs"
    assert chain.send(parent) == parent.txid
    assert chain.send(child) == child.txid


def test_outputs_of_a_reorganised_spend_come_back(chain, wallet):
    (tx,), _ = mined(chain, wallet)
    chain.control("/reorg", {"depth": 1, "drop": [tx.txid]})
    (left,) = chain.woc(f"/address/{wallet.address}/unspent/all").json()["result"]
    assert (left["tx_hash"], left["isSpentInMempoolTx"]) == (tx.inputs[0].outpoint.txid, False)
    rival = wallet.spend(tx.inputs, b"rival")
    assert chain.send(rival) == rival.txid
    chain.mine()
    assert chain.send(tx) == "Missing inputs"


def test_deep_reorganisation_keeps_the_order_of_parents_and_children(chain, wallet):
    (coin,) = wallet.fund(20_000)
    txids = [coin.outpoint.txid]
    for _ in range(5):
        chain.mine()
        tx = wallet.spend([coin])
        chain.send(tx)
        txids.append(tx.txid)
        coin = wallet.change_of(tx)
    chain.mine()
    done = chain.control("/reorg", {"depth": 6})
    # Tests before this one have left transactions of their own in the mempool.
    assert [txid for txid in done["returned"] if txid in txids] == txids
    chain.mine()
    heights = {chain.status(txid)["blockheight"] for txid in txids}
    assert len(heights) == 1
    block = chain.woc(f"/block/height/{heights.pop()}").json()
    assert [txid for txid in block["tx"] if txid in txids] == txids


def test_old_coinbases_are_gone(chain):
    block_hash = chain.mine()["blocks"][0]
    coinbase = chain.woc(f"/block/hash/{block_hash}").json()["tx"][0]
    chain.control("/reorg", {"depth": 1})
    assert chain.status(coinbase)["error"] == "unknown"
    assert chain.woc(f"/block/hash/{block_hash}").json()["tx"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"depth": 0},
        {"depth": 1 << 40},
        {"depth": "1"},
        {"depth": True},
        {"depth": 1, "drop": ["ab" * 32]},
        {"depth": 1, "drop": "x"},
        {"depth": 1, "drop": ["x"]},
    ],
)
def test_impossible_reorganisations_change_nothing(chain, body):
    chain.mine()
    before = chain.woc("/chain/info").json()
    response = chain.http.post(chain.url + "/control/reorg", json=body, timeout=5)
    assert response.status_code == 400
    assert response.json()["error"]
    assert chain.woc("/chain/info").json() == before


def test_eviction_takes_descendants_and_frees_the_inputs(chain, wallet):
    (coin,) = wallet.fund()
    chain.mine()
    parent = wallet.spend([coin])
    child = wallet.spend([wallet.change_of(parent)])
    for tx in (parent, child):
        chain.send(tx)
    evicted = chain.control("/evict", {"txids": [parent.txid]})["evicted"]
    assert evicted == [child.txid, parent.txid]
    assert chain.status(parent.txid)["error"] == "unknown"
    assert chain.woc(f"/tx/{coin.outpoint.txid}/{coin.outpoint.vout}/spent").status_code == 404
    assert chain.send(parent) == parent.txid
    assert chain.send(child) == child.txid


def test_eviction_of_all_empties_the_mempool_and_nothing_else(chain, wallet):
    (old,), _ = mined(chain, wallet)
    new = wallet.spend([wallet.change_of(old)])
    chain.send(new)
    evicted = chain.control("/evict", {"txids": None})["evicted"]
    assert new.txid in evicted
    assert chain.control("/stats")["mempool"] == 0
    assert chain.status(old.txid)["confirmations"] == 1
    assert chain.control("/evict", {"txids": [old.txid, "ab" * 32]})["evicted"] == []


def test_control_lists_what_is_on_the_chain(chain, wallet):
    (old,), _ = mined(chain, wallet)
    new = wallet.spend([wallet.change_of(old)])
    chain.send(new)
    tip = chain.control("/stats")["height"]
    shown = chain.control(f"/tx/{old.txid}")
    assert shown == {
        "txid": old.txid,
        "hex": old.to_hex(),
        "block_height": tip,
        "confirmations": 1,
    }
    listed = chain.control(f"/transactions?since_height={tip}")["transactions"]
    assert [each["txid"] for each in listed] == [old.txid, new.txid]
    assert listed[1]["block_height"] is None
    assert listed[1]["confirmations"] == 0
    assert len(chain.control("/transactions")["transactions"]) > 2
    unknown = chain.http.get(f"{chain.url}/control/tx/{'ab' * 32}", timeout=5)
    assert unknown.status_code == 404


def test_stats_count_what_was_handed_in(chain, wallet):
    tx = wallet.spend(wallet.fund())
    before = chain.control("/stats")
    for each in (tx, tx, "00", "zz"):
        chain.send(each)
    after = chain.control("/stats")
    change = {name: after[name] - before[name] for name in after}
    assert change == {"accepted": 1, "duplicates": 1, "rejected": 2, "mempool": 1, "height": 0}


def test_faucet_pays_many_outputs_at_once(chain, wallet):
    coins = wallet.fund(123, outputs=2000)
    assert len({coin.outpoint for coin in coins}) == 2000
    chain.mine()
    balance = chain.woc(f"/address/{wallet.address}/confirmed/balance").json()
    assert balance["confirmed"] == 123 * 2000


@pytest.mark.parametrize(
    "change",
    [
        {"address": "nonsense"},
        {"address": None},
        {"address": "1BitcoinEaterAddressDontSendf59kuE"},
        {"satoshis": 0},
        {"satoshis": -1},
        {"satoshis": 1.5},
        {"satoshis": 10**16},
        {"satoshis": 20_000_000 * 10**8},
        {"outputs": 0},
        {"outputs": 10_001},
    ],
)
def test_faucet_refuses_what_it_can_not_pay(chain, wallet, change):
    body = {"address": wallet.address, "satoshis": 1000, "outputs": 1} | change
    response = chain.http.post(chain.url + "/control/fund", json=body, timeout=5)
    assert response.status_code == 400
    assert response.json()["error"]
