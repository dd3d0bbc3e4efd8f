"""WhatsOnChain's shapes and oddities, as the reference describes them."""

import hashlib
import json

import pytest

from app.bitcoin.headers import BlockHeader
from app.bitcoin.merkle import MerklePath
from app.bitcoin.transactions import Transaction, TxOutput

REGTEST_BITS = 0x207FFFFF


def mined(chain, wallet):
    tx = wallet.spend(wallet.fund())
    chain.send(tx)
    chain.mine()
    return tx


def test_broadcast_answers_the_txid_in_quotes_and_bare_for_plain_text(chain, wallet):
    first, second = (wallet.spend([coin]) for coin in wallet.fund(outputs=2))
    assert chain.woc("/tx/raw", {"txhex": first.to_hex()}).text == f'"{first.txid}"'
    headers = {"Accept": "text/plain"}
    assert chain.woc("/tx/raw", {"txhex": second.to_hex()}, headers=headers).text == second.txid


def test_refusal_is_a_json_string_under_400(chain):
    response = chain.woc("/tx/raw", {"txhex": "00"})
    assert response.status_code == 400
    assert response.text == '"unexpected response code 500: TX decode failed"'


def test_service_is_up(chain):
    assert chain.woc("/woc").text == "Whats On Chain"


def test_chain_info_names_the_tip(chain):
    tip = chain.mine()
    info = chain.woc("/chain/info").json()
    assert info["blocks"] == tip["height"]
    assert info["bestblockhash"] == tip["blocks"][0]
    assert info["chain"] == "test"
    assert isinstance(info["difficulty"], float)


def test_unspent_lists_unconfirmed_with_hex_and_without_height(chain, wallet):
    (coin,) = wallet.fund(7000)
    answer = chain.woc(f"/address/{wallet.address}/unspent/all").json()
    assert answer == {
        "address": wallet.address,
        "script": wallet.script_hash,
        "result": [
            {
                "tx_pos": coin.outpoint.vout,
                "tx_hash": coin.outpoint.txid,
                "value": 7000,
                "isSpentInMempoolTx": False,
                "hex": wallet.script.hex(),
                "status": "unconfirmed",
            }
        ],
        "error": "",
    }


def test_unspent_still_lists_confirmed_outputs_spent_in_the_mempool(chain, wallet):
    (coin,) = wallet.fund(7000)
    height = chain.mine()["height"]
    child = wallet.spend([coin])
    chain.send(child)
    by_vout = {
        (entry["tx_hash"], entry["tx_pos"]): entry
        for entry in chain.woc(f"/address/{wallet.address}/unspent/all").json()["result"]
    }
    assert by_vout[coin.outpoint.txid, coin.outpoint.vout] == {
        "height": height,
        "tx_pos": coin.outpoint.vout,
        "tx_hash": coin.outpoint.txid,
        "value": 7000,
        "isSpentInMempoolTx": True,
        "status": "confirmed",
    }
    assert by_vout[child.txid, 1]["status"] == "unconfirmed"
    chain.mine()
    (left,) = chain.woc(f"/address/{wallet.address}/unspent/all").json()["result"]
    assert (left["tx_hash"], left["isSpentInMempoolTx"]) == (child.txid, False)


def test_unspent_pages_above_1000_confirmed(chain, wallet):
    wallet.fund(300, outputs=1500)
    chain.mine()
    (fresh,) = wallet.fund(400)
    path = f"/address/{wallet.address}/unspent/all"
    first = chain.woc(path).json()
    assert len(first["result"]) == 1001
    assert first["result"][0]["tx_hash"] == fresh.outpoint.txid
    second = chain.woc(f"{path}?token={first['nextPageToken']}").json()
    assert len(second["result"]) == 500
    assert "nextPageToken" not in second
    seen = {(e["tx_hash"], e["tx_pos"]) for e in first["result"] + second["result"]}
    assert len(seen) == 1501


def test_confirmed_and_unconfirmed_lists_differ_in_their_keys(chain, wallet):
    (old,) = wallet.fund(1000)
    chain.mine()
    (new,) = wallet.fund(2000)
    (confirmed,) = chain.woc(f"/address/{wallet.address}/confirmed/unspent").json()["result"]
    assert set(confirmed) == {"height", "tx_pos", "tx_hash", "value", "isSpentInMempoolTx"}
    assert confirmed["tx_hash"] == old.outpoint.txid
    (unconfirmed,) = chain.woc(f"/address/{wallet.address}/unconfirmed/unspent").json()["result"]
    assert set(unconfirmed) == {"tx_pos", "tx_hash", "value", "isSpentInMempoolTx", "hex"}
    assert unconfirmed["tx_hash"] == new.outpoint.txid


def test_confirmed_unspent_takes_a_limit(chain, wallet):
    wallet.fund(300, outputs=5)
    chain.mine()
    path = f"/address/{wallet.address}/confirmed/unspent"
    first = chain.woc(f"{path}?limit=3").json()
    rest = chain.woc(f"{path}?limit=3&token={first['nextPageToken']}").json()
    assert [len(first["result"]), len(rest["result"])] == [3, 2]
    assert chain.woc(f"{path}?limit=10001").status_code == 400


def test_script_twins_leave_the_address_out(chain, wallet):
    wallet.fund(700)
    answer = chain.woc(f"/script/{wallet.script_hash}/unspent/all").json()
    assert "address" not in answer
    assert answer["script"] == wallet.script_hash
    assert [entry["value"] for entry in answer["result"]] == [700]


def test_bulk_unspent_caps_its_items_and_shows_null_for_none(chain, wallet):
    empty = type(wallet)(chain)
    wallet.fund(300, outputs=25)
    chain.mine()
    wallet.fund(300, outputs=130)
    names = {"addresses": [wallet.address, empty.address]}
    confirmed, nothing = chain.woc("/addresses/confirmed/unspent", names).json()
    assert len(confirmed["result"]) == 20
    assert nothing == {
        "address": empty.address,
        "script": empty.script_hash,
        "result": None,
        "error": "",
    }
    path = f"/address/{wallet.address}/confirmed/unspent?token={confirmed['nextPageToken']}"
    assert len(chain.woc(path).json()["result"]) == 5
    unconfirmed = chain.woc("/addresses/unconfirmed/unspent", names).json()[0]
    assert len(unconfirmed["result"]) == 100
    assert unconfirmed["nextPageToken"]
    scripts = {"scripts": [wallet.script_hash]}
    assert len(chain.woc("/scripts/confirmed/unspent", scripts).json()[0]["result"]) == 20


def test_bulk_takes_20_addresses(chain, wallet):
    for count, status in ((20, 200), (21, 400)):
        body = {"addresses": [wallet.address] * count}
        assert chain.woc("/addresses/confirmed/unspent", body).status_code == status


def test_balances_are_satoshis_and_can_be_negative(chain, wallet):
    (coin,) = wallet.fund(7000)
    path = f"/address/{wallet.address}"
    assert chain.woc(f"{path}/unconfirmed/balance").json()["unconfirmed"] == 7000
    chain.mine()
    chain.send(wallet.spend([coin], fee=500))
    assert chain.woc(f"{path}/confirmed/balance").json()["confirmed"] == 7000
    assert chain.woc(f"{path}/unconfirmed/balance").json()["unconfirmed"] == -500


def test_history_is_404_for_a_stranger(chain, wallet):
    for kind in ("confirmed", "unconfirmed"):
        assert chain.woc(f"/address/{wallet.address}/{kind}/history").status_code == 404


def test_history_pages_in_both_orders(chain, wallet):
    (coin,) = wallet.fund(20_000)
    txids = [coin.outpoint.txid]
    for _ in range(4):
        chain.mine()
        tx = wallet.spend([coin])
        chain.send(tx)
        txids.append(tx.txid)
        coin = wallet.change_of(tx)
    path = f"/address/{wallet.address}"
    unconfirmed = chain.woc(f"{path}/unconfirmed/history").json()["result"]
    assert unconfirmed == [{"tx_hash": txids.pop()}]
    newest = chain.woc(f"{path}/confirmed/history").json()["result"]
    assert [entry["tx_hash"] for entry in newest] == txids[::-1]
    for order, expected in (("asc", txids), ("desc", txids[::-1])):
        first = chain.woc(f"{path}/confirmed/history?order={order}&limit=3").json()
        token = first["nextPageToken"]
        rest = chain.woc(f"{path}/confirmed/history?order={order}&limit=3&token={token}").json()
        assert [e["tx_hash"] for e in first["result"] + rest["result"]] == expected
    since = newest[1]["height"]
    assert len(chain.woc(f"{path}/confirmed/history?height={since}").json()["result"]) == 2


def test_bulk_history(chain, wallet):
    (coin,) = wallet.fund()
    chain.mine()
    tx = wallet.spend([coin])
    chain.send(tx)
    names = {"addresses": [wallet.address]}
    (confirmed,) = chain.woc("/addresses/confirmed/history", names).json()
    assert [entry["tx_hash"] for entry in confirmed["result"]] == [coin.outpoint.txid]
    (unconfirmed,) = chain.woc("/addresses/unconfirmed/history", names).json()
    assert unconfirmed["result"] == [{"tx_hash": tx.txid}]


def test_decoded_transaction_has_floats_and_no_block_before_it_is_mined(chain, wallet):
    tx = wallet.spend(wallet.fund(10_000), fee=100)
    chain.send(tx)
    decoded = chain.woc(f"/tx/hash/{tx.txid}").json()
    assert decoded == chain.woc(f"/tx/{tx.txid}").json()
    assert not {"blockhash", "blockheight", "confirmations", "time", "blocktime"} & set(decoded)
    assert decoded["vout"][1]["value"] == 0.000099
    assert decoded["vout"][1]["scriptPubKey"]["addresses"] == [wallet.address]
    assert decoded["vout"][1]["scriptPubKey"]["type"] == "pubkeyhash"
    assert decoded["vout"][0]["scriptPubKey"]["asm"] == f"0 OP_RETURN {b'data'.hex()}"
    tip = chain.mine()
    decoded = chain.woc(f"/tx/hash/{tx.txid}").json()
    assert (decoded["blockhash"], decoded["blockheight"]) == (tip["blocks"][0], tip["height"])
    assert decoded["confirmations"] == 1
    assert decoded["time"] == decoded["blocktime"]


def test_coinbase_is_decoded_with_an_empty_source(chain):
    block = chain.woc(f"/block/hash/{chain.mine()['blocks'][0]}").json()
    decoded = chain.woc(f"/tx/hash/{block['tx'][0]}").json()
    assert decoded["vin"][0]["txid"] == ""
    assert decoded["vin"][0]["coinbase"]
    assert decoded["vout"][0]["value"] >= 50.0


def test_long_scripts_are_cut_and_whole_elsewhere(chain, wallet):
    tx = wallet.spend(wallet.fund(20_000), b"x" * 60_000, fee=3_500)
    chain.send(tx)
    script = chain.woc(f"/tx/hash/{tx.txid}").json()["vout"][0]["scriptPubKey"]
    assert script["isTruncated"] is True
    assert len(script["hex"]) == 100_000
    whole = chain.woc(f"/tx/{tx.txid}/out/0/hex").text
    assert whole == tx.outputs[0].locking_script.hex()
    assert chain.woc(f"/tx/{tx.txid}/out/7/hex").status_code == 404


def test_hex_is_text_and_404_when_unknown(chain, wallet):
    tx = wallet.spend(wallet.fund())
    chain.send(tx)
    assert chain.woc(f"/tx/{tx.txid}/hex").text == tx.to_hex()
    assert chain.woc(f"/tx/{'ab' * 32}/hex").status_code == 404
    assert chain.woc(f"/tx/hash/{'ab' * 32}").status_code == 404


def test_malformed_txid_is_refused_in_the_services_words(chain):
    response = chain.woc("/tx/hash/abc")
    assert response.status_code == 400
    assert response.text == "txid must be 64 hex characters in length"


def test_status_tells_mined_mempool_and_unknown(chain, wallet):
    old = mined(chain, wallet)
    new = wallet.spend([wallet.change_of(old)])
    chain.send(new)
    body = {"txids": [old.txid, new.txid, "ab" * 32]}
    first, second, third = chain.woc("/txs/status", body).json()
    assert set(first) == {"txid", "blockhash", "blockheight", "blocktime", "confirmations"}
    assert second == {"txid": new.txid}
    assert third == {"txid": "ab" * 32, "error": "unknown"}


@pytest.mark.parametrize("path", ["/txs", "/txs/hex", "/txs/status"])
def test_bulk_takes_20_txids(chain, path):
    for txids, status in ((["ab" * 32] * 20, 200), (["ab" * 32] * 21, 400), ([], 400)):
        assert chain.woc(path, {"txids": txids}).status_code == status


def test_bulk_hex_and_bulk_decoded(chain, wallet):
    tx = mined(chain, wallet)
    (entry,) = chain.woc("/txs/hex", {"txids": [tx.txid]}).json()
    assert entry["hex"] == tx.to_hex()
    assert entry["confirmations"] == 1
    (decoded,) = chain.woc("/txs", {"txids": [tx.txid]}).json()
    assert decoded == chain.woc(f"/tx/hash/{tx.txid}").json()


def test_proof_is_null_until_mined_and_then_leads_to_the_header(chain, wallet):
    txs = [wallet.spend([coin]) for coin in wallet.fund(outputs=4)]
    for tx in txs:
        chain.send(tx)
    response = chain.woc(f"/tx/{txs[0].txid}/proof/tsc")
    assert (response.status_code, response.text) == (200, "null")
    assert chain.woc(f"/tx/{'ab' * 32}/proof/tsc").json() is None
    chain.mine()
    for tx in txs:
        (proof,) = chain.woc(f"/tx/{tx.txid}/proof/tsc").json()
        assert set(proof) == {"index", "txOrId", "target", "nodes"}
        header = chain.woc(f"/block/{proof['target']}/header").json()
        path = MerklePath.from_tsc(header["height"], tx.txid, proof["index"], proof["nodes"])
        assert path.root(tx.txid) == header["merkleroot"]


def test_proof_doubles_with_a_star(chain, wallet):
    chain.mine()
    # The coinbase, the faucet's payment and this one: the last of three leaves has no sibling.
    tx = mined(chain, wallet)
    (proof,) = chain.woc(f"/tx/{tx.txid}/proof/tsc").json()
    assert (proof["index"], proof["nodes"][0]) == (2, "*")


def test_proof_of_a_coinbase_alone_in_its_block_has_no_nodes(chain):
    chain.mine()
    block = chain.woc(f"/block/hash/{chain.mine()['blocks'][0]}").json()
    (proof,) = chain.woc(f"/tx/{block['tx'][0]}/proof/tsc").json()
    assert proof["nodes"] == []
    assert block["merkleroot"] == block["tx"][0]


def test_spends_are_200_404_and_400(chain, wallet):
    (coin,) = wallet.fund()
    path = f"/tx/{coin.outpoint.txid}/{coin.outpoint.vout}/spent"
    assert chain.woc(path).status_code == 404
    assert chain.woc(f"/tx/{coin.outpoint.txid}/99/spent").status_code == 400
    assert chain.woc(f"/tx/{'ab' * 32}/0/spent").status_code == 400
    tx = wallet.spend([coin])
    chain.send(tx)
    assert chain.woc(path).json() == {"txid": tx.txid, "vin": 0, "status": "unconfirmed"}
    chain.mine()
    assert chain.woc(path).json() == {"txid": tx.txid, "vin": 0, "status": "confirmed"}
    base = path.removesuffix("/spent")
    assert chain.woc(f"{base}/confirmed/spent").status_code == 200
    assert chain.woc(f"{base}/unconfirmed/spent").status_code == 404


def test_bulk_spends(chain, wallet):
    coins = wallet.fund(outputs=2)
    tx = wallet.spend([coins[0]])
    chain.send(tx)
    utxos = [{"txid": c.outpoint.txid, "vout": c.outpoint.vout} for c in coins]
    utxos.append({"txid": "ab" * 32, "vout": 0})
    spent, unspent, unknown = chain.woc("/utxos/spent", {"utxos": utxos}).json()
    spent_in = {"txid": tx.txid, "vin": 0, "status": "unconfirmed"}
    assert spent == {"utxo": utxos[0], "spentIn": spent_in, "error": ""}
    assert unspent == {"utxo": utxos[1], "spentIn": None, "error": ""}
    assert unknown == {"utxo": utxos[2], "error": "unknown"}
    assert chain.woc("/utxos/spent", {"utxos": utxos[:1] * 21}).status_code == 400


def header_of(shown):
    return BlockHeader(
        shown["version"],
        shown.get("previousblockhash", "00" * 32),
        shown["merkleroot"],
        shown["time"],
        int(shown["bits"], 16),
        shown["nonce"],
    )


def test_headers_have_work_and_follow_each_other(chain):
    height = chain.mine(3)["height"]
    previous = None
    for each in range(height - 2, height + 1):
        shown = chain.woc(f"/block/{each}/header").json()
        header = header_of(shown)
        assert header.block_hash == shown["hash"]
        assert header.has_proof_of_work(REGTEST_BITS)
        assert shown == chain.woc(f"/block/{shown['hash']}/header").json()
        assert (shown["nTx"], shown["num_tx"] >= 1) == (0, True)
        assert previous in (None, shown["previousblockhash"])
        previous = shown["hash"]
    assert "nextblockhash" not in shown
    genesis = chain.woc("/block/0/header").json()
    assert genesis["hash"] == "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    assert "previousblockhash" not in genesis
    assert chain.woc(f"/block/{height + 1}/header").status_code == 404
    assert chain.woc(f"/block/{'ab' * 32}/header").status_code == 404


def test_last_headers_come_newest_first_and_as_bytes_oldest_first(chain):
    tip = chain.mine(2)
    shown = chain.woc("/block/headers").json()
    assert len(shown) == 10
    assert [each["height"] for each in shown] == list(range(tip["height"], tip["height"] - 10, -1))
    raw = chain.woc("/block/headers/latest?count=3").content
    assert len(raw) == 240
    last = BlockHeader.from_bytes(raw[160:])
    assert last.block_hash == tip["blocks"][-1]
    assert last.previous_block_hash == BlockHeader.from_bytes(raw[80:160]).block_hash
    assert len(chain.woc("/block/headers/latest").content) == 80 * (tip["height"] + 1)
    assert chain.woc("/block/headers/latest?count=101").status_code == 400


def test_block_lists_its_transactions_and_its_fees(chain, wallet):
    chain.mine()
    tx = wallet.spend(wallet.fund(), fee=123)
    chain.send(tx)
    tip = chain.mine()
    block = chain.woc(f"/block/height/{tip['height']}").json()
    assert block["txcount"] == len(block["tx"]) == 3
    assert block["tx"][2] == tx.txid
    assert block["coinbaseTx"]["txid"] == block["tx"][0]
    fees = round(block["totalFees"] * 10**8)
    assert fees >= 123
    assert block["coinbaseTx"]["vout"][0]["value"] == (50 * 10**8 + fees) / 10**8
    raws = [chain.woc(f"/tx/{txid}/hex").text for txid in block["tx"]]
    assert block["size"] == 81 + sum(len(raw) // 2 for raw in raws)


def test_big_blocks_page_their_transactions(chain, wallet):
    chain.mine()
    for coin in wallet.fund(300, outputs=1000):
        chain.send(wallet.spend([coin]))
    block = chain.woc(f"/block/height/{chain.mine()['height']}").json()
    assert block["txcount"] == 1002
    assert len(block["tx"]) == 100
    (uri,) = block["pages"]["uri"]
    rest = chain.woc(uri).json()
    assert len({*block["tx"], *rest}) == 1002


def test_fee_recommendation_is_satoshis_per_kilobyte(chain):
    fees = chain.woc("/feerecommendation").json()
    assert fees == {"fee": 50, "fee_unit": "sat/KB", "mempool_min_fee": 50}


def test_nothing_numeric_arrives_as_a_string(chain, wallet):
    tx = mined(chain, wallet)

    def strings(value):
        if isinstance(value, dict):
            return [each for member in value.values() for each in strings(member)]
        if isinstance(value, list):
            return [each for member in value for each in strings(member)]
        return [value] if isinstance(value, str) else []

    for path in (f"/tx/hash/{tx.txid}", "/chain/info", f"/address/{wallet.address}/unspent/all"):
        assert not [
            each for each in strings(chain.woc(path).json()) if each.isdigit() and len(each) < 64
        ]


def test_other_networks_are_not_served(chain):
    url = chain.url + "/v1/bsv/main/chain/info"
    assert chain.http.get(url, timeout=5).status_code == 404


def test_mined_bytes_hash_to_their_txid(chain, wallet):
    tx = mined(chain, wallet)
    raw = bytes.fromhex(chain.woc(f"/tx/{tx.txid}/hex").text)
    digest = hashlib.sha256(hashlib.sha256(raw).digest()).digest()
    assert digest[::-1].hex() == tx.txid
    assert Transaction.from_bytes(raw).outputs[1] == TxOutput(9900, wallet.script)


def test_broadcast_without_txhex_is_a_400_in_quotes(chain):
    for body in ({}, [], {"txhex": 5}):
        response = chain.woc("/tx/raw", body)
        assert response.status_code == 400
        assert isinstance(json.loads(response.text), str)
