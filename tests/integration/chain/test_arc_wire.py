"""ARC's wire: what it checks by itself, what it passes on, and what 200 does not mean."""

from dataclasses import replace

import pytest

from app.bitcoin.merkle import MerklePath
from app.bitcoin.scripts import data_locking_script
from app.bitcoin.transactions import TxOutput

KEYS = {
    "blockHash",
    "blockHeight",
    "competingTxs",
    "extraInfo",
    "merklePath",
    "timestamp",
    "txStatus",
    "txid",
}


def submit(chain, tx, **headers):
    return chain.arc("/tx", {"rawTx": tx.to_extended_hex()}, headers=headers)


def post(chain, path, content_type, data):
    headers = {"Content-Type": content_type}
    return chain.http.post(chain.url + path, data=data, headers=headers, timeout=10)


def test_submission_is_seen_and_then_mined_with_a_bump(chain, wallet):
    tx = wallet.spend(wallet.fund())
    answer = submit(chain, tx)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == KEYS | {"status", "title"}
    assert (body["status"], body["title"], body["txid"]) == (200, "OK", tx.txid)
    assert body["txStatus"] == "SEEN_ON_NETWORK"
    assert (body["blockHash"], body["blockHeight"], body["merklePath"]) == ("", 0, "")
    assert body["competingTxs"] is None
    tip = chain.mine()
    shown = chain.arc(f"/tx/{tx.txid}").json()
    assert set(shown) == KEYS
    assert shown["txStatus"] == "MINED"
    assert (shown["blockHash"], shown["blockHeight"]) == (tip["blocks"][0], tip["height"])
    path = MerklePath.from_hex(shown["merklePath"])
    header = chain.woc(f"/block/{tip['height']}/header").json()
    assert (path.block_height, path.root(tx.txid)) == (tip["height"], header["merkleroot"])


@pytest.mark.parametrize("is_extended", [True, False])
def test_three_content_types_and_two_formats(chain, wallet, is_extended):
    for content_type, coin in zip(
        ("application/json", "text/plain", "application/octet-stream"),
        wallet.fund(outputs=3),
        strict=True,
    ):
        tx = wallet.spend([coin])
        text = tx.to_extended_hex() if is_extended else tx.to_hex()
        data = {
            "application/json": f'{{"rawTx":"{text}"}}',
            "text/plain": text,
            "application/octet-stream": bytes.fromhex(text),
        }[content_type]
        body = post(chain, "/arc/v1/tx", content_type, data).json()
        assert (body["txid"], body["txStatus"]) == (tx.txid, "SEEN_ON_NETWORK")
        assert chain.status(tx.txid) == {"txid": tx.txid}


def test_text_is_not_trimmed_and_other_types_are_refused(chain, wallet):
    text = wallet.spend(wallet.fund()).to_extended_hex()
    for content_type, data in (("text/plain", text + "\n"), ("application/beef", text)):
        response = post(chain, "/arc/v1/tx", content_type, data)
        assert (response.status_code, response.json()["status"]) == (400, 400)


def test_problem_object_has_its_own_shape(chain, wallet):
    tx = wallet.spend(wallet.fund(), fee=1)
    response = submit(chain, tx)
    assert response.status_code == 465
    problem = response.json()
    assert set(problem) == {
        "type",
        "title",
        "status",
        "detail",
        "instance",
        "txid",
        "extraInfo",
    }
    assert (problem["title"], problem["status"], problem["txid"]) == ("Fee too low", 465, tx.txid)
    assert "minimum expected fee" in problem["extraInfo"]
    assert chain.status(tx.txid)["error"] == "unknown"


def test_unknown_parent_needs_the_extended_format(chain, wallet):
    tx = wallet.spend([wallet.coin("ab" * 32, 0, 5000)])
    response = chain.arc("/tx", {"rawTx": tx.to_hex()})
    assert (response.status_code, response.json()["status"]) == (460, 460)


def test_parent_in_the_mempool_is_enough_for_the_plain_format(chain, wallet):
    parent = wallet.spend(wallet.fund())
    chain.send(parent)
    child = wallet.spend([wallet.change_of(parent)])
    assert chain.arc("/tx", {"rawTx": child.to_hex()}).json()["txStatus"] == "SEEN_ON_NETWORK"


def test_failing_script_is_461(chain, wallet):
    tx = wallet.spend(wallet.fund())
    script = tx.inputs[0].unlocking_script
    broken = tx.with_unlocking_scripts([script[:20] + bytes([script[20] ^ 1]) + script[21:]])
    assert submit(chain, broken).status_code == 461


def test_no_inputs_is_462(chain, wallet):
    response = submit(chain, replace(wallet.draft(wallet.fund()), inputs=()))
    assert response.status_code == 462


def test_computing_unlocking_script_is_463(chain, wallet):
    tx = wallet.spend(wallet.fund())
    script = b"\x61" + tx.inputs[0].unlocking_script
    assert submit(chain, tx.with_unlocking_scripts([script])).status_code == 463


def test_data_with_satoshis_and_dust_are_464(chain, wallet):
    draft = wallet.draft(wallet.fund())
    data = data_locking_script([b"x"])
    for outputs in (
        (),
        (TxOutput(10, data), draft.outputs[1]),
        (TxOutput(0, wallet.script), draft.outputs[1]),
    ):
        tx = wallet.sign(replace(draft, outputs=outputs))
        assert submit(chain, tx).status_code == 464


def test_outputs_above_inputs_are_465(chain, wallet):
    assert submit(chain, wallet.spend(wallet.fund(), fee=-5)).status_code == 465


def test_beef_is_refused(chain):
    assert chain.arc("/tx", {"rawTx": "0100beef00"}).status_code == 463


def test_skipped_validation_leaves_the_refusal_to_the_node(chain, wallet):
    coins = wallet.fund(outputs=2)
    cheap = wallet.spend([coins[0]], fee=0)
    body = submit(chain, cheap, **{"X-SkipFeeValidation": "true"}).json()
    assert (body["status"], body["txStatus"]) == (200, "REJECTED")
    assert body["extraInfo"] == "invalid transaction: mempool min fee not met"
    unsigned = wallet.draft([coins[1]])
    body = submit(chain, unsigned, **{"X-SkipTxValidation": "true"}).json()
    assert body["txStatus"] == "REJECTED"
    assert "mandatory-script-verify-flag-failed" in body["extraInfo"]
    assert chain.arc(f"/tx/{cheap.txid}").json()["txStatus"] == "REJECTED"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-WaitFor": "SOMEDAY"},
        {"X-MaxTimeout": "31"},
        {"X-MaxTimeout": "soon"},
        {"X-CallbackUrl": "http://localhost/x"},
        {"X-CallbackUrl": "nonsense"},
        {"X-SkipFeeValidation": "maybe"},
    ],
)
def test_bad_headers_are_400(chain, wallet, headers):
    tx = wallet.spend(wallet.fund())
    assert submit(chain, tx, **headers).status_code == 400
    assert chain.status(tx.txid)["error"] == "unknown"


def test_queued_answers_at_once(chain, wallet):
    tx = wallet.spend(wallet.fund())
    assert submit(chain, tx, **{"X-WaitFor": "QUEUED"}).json()["txStatus"] == "QUEUED"
    assert chain.arc(f"/tx/{tx.txid}").json()["txStatus"] == "SEEN_ON_NETWORK"


def test_second_spender_is_a_double_spend_and_marks_the_first(chain, wallet):
    coins = wallet.fund()
    first, second = wallet.spend(coins, b"first"), wallet.spend(coins, b"second")
    submit(chain, first)
    body = submit(chain, second).json()
    assert (body["status"], body["txStatus"]) == (200, "DOUBLE_SPEND_ATTEMPTED")
    assert (body["competingTxs"], body["extraInfo"]) == ([first.txid], "")
    shown = chain.arc(f"/tx/{first.txid}").json()
    assert (shown["txStatus"], shown["competingTxs"]) == ("DOUBLE_SPEND_ATTEMPTED", [second.txid])
    chain.mine()
    winner, loser = (chain.arc(f"/tx/{tx.txid}").json() for tx in (first, second))
    assert (winner["txStatus"], winner["competingTxs"]) == ("MINED", None)
    assert winner["extraInfo"] == "previously double spend attempted"
    assert (loser["txStatus"], loser["extraInfo"]) == ("REJECTED", "double spend attempted")


def test_input_spent_in_a_block_looks_like_an_orphan(chain, wallet):
    coins = wallet.fund()
    chain.send(wallet.spend(coins, b"first"))
    chain.mine()
    body = submit(chain, wallet.spend(coins, b"second")).json()
    assert (body["status"], body["txStatus"]) == (200, "SEEN_IN_ORPHAN_MEMPOOL")
    assert body["competingTxs"] is None


def test_orphan_is_taken_in_once_its_parent_comes(chain, wallet):
    parent = wallet.spend(wallet.fund())
    child = wallet.spend([wallet.change_of(parent)])
    assert submit(chain, child).json()["txStatus"] == "SEEN_IN_ORPHAN_MEMPOOL"
    assert chain.arc(f"/tx/{child.txid}").json()["txStatus"] == "SEEN_IN_ORPHAN_MEMPOOL"
    chain.send(parent)
    assert chain.arc(f"/tx/{child.txid}").json()["txStatus"] == "SEEN_ON_NETWORK"


def test_resubmission_answers_the_current_status(chain, wallet):
    tx = wallet.spend(wallet.fund())
    assert submit(chain, tx).json()["txStatus"] == "SEEN_ON_NETWORK"
    assert submit(chain, tx).json()["txStatus"] == "SEEN_ON_NETWORK"
    chain.mine()
    assert submit(chain, tx).json()["txStatus"] == "MINED"


def test_transaction_mined_elsewhere_is_announced_first(chain, wallet):
    tx = wallet.spend(wallet.fund())
    chain.send(tx)
    chain.mine()
    assert chain.arc(f"/tx/{tx.txid}").status_code == 404
    assert submit(chain, tx).json()["txStatus"] == "ANNOUNCED_TO_NETWORK"
    assert chain.arc(f"/tx/{tx.txid}").json()["txStatus"] == "MINED"


def test_never_submitted_is_404(chain):
    response = chain.arc(f"/tx/{'ab' * 32}")
    assert (response.status_code, response.json()["extraInfo"]) == (404, "transaction not found")


def test_batch_lists_successes_first_and_keeps_200(chain, wallet):
    coins = wallet.fund(outputs=4)
    cheap = wallet.spend([coins[0]], fee=0)
    good = [wallet.spend([coin]) for coin in coins[1:]]
    body = [{"rawTx": tx.to_extended_hex()} for tx in (cheap, *good)]
    response = chain.arc("/txs", body)
    assert response.status_code == 200
    answers = response.json()
    assert [each["status"] for each in answers] == [200, 200, 200, 465]
    assert [each["txid"] for each in answers] == [*(tx.txid for tx in good), cheap.txid]


def test_batch_as_lines_and_as_bytes(chain, wallet):
    coins = wallet.fund(outputs=4)
    lines, raws = ([wallet.spend([coin]) for coin in part] for part in (coins[:2], coins[2:]))
    text = "\n".join(tx.to_extended_hex() for tx in lines)
    data = bytes.fromhex(raws[0].to_hex() + raws[1].to_extended_hex())
    for content_type, body, txs in (
        ("text/plain", text, lines),
        ("application/octet-stream", data, raws),
    ):
        answers = post(chain, "/arc/v1/txs", content_type, body).json()
        assert [each["txid"] for each in answers] == [tx.txid for tx in txs]
        assert {each["txStatus"] for each in answers} == {"SEEN_ON_NETWORK"}


def test_one_unreadable_transaction_fails_the_batch(chain, wallet):
    tx = wallet.spend(wallet.fund())
    body = [{"rawTx": tx.to_extended_hex()}, {"rawTx": "00"}]
    assert chain.arc("/txs", body).status_code == 400
    assert chain.status(tx.txid)["error"] == "unknown"
    assert chain.arc("/txs", []).status_code == 400


def test_future_locktime_never_gets_seen(chain, wallet):
    (coin,) = wallet.fund()
    tx = wallet.sign(replace(wallet.draft([replace(coin, sequence=0)]), locktime=400_000_000))
    assert submit(chain, tx).json()["txStatus"] == "SENT_TO_NETWORK"
    assert chain.arc(f"/tx/{tx.txid}").json()["txStatus"] == "SENT_TO_NETWORK"


def test_eviction_and_reorganisation_show(chain, wallet):
    coins = wallet.fund(outputs=2)
    chain.mine()
    evicted, stale = (wallet.spend([coin]) for coin in coins)
    submit(chain, evicted)
    chain.control("/evict", {"txids": [evicted.txid]})
    shown = chain.arc(f"/tx/{evicted.txid}").json()
    assert shown["txStatus"] == "REJECTED"
    assert shown["extraInfo"].startswith("discarded from mempool: ")
    submit(chain, stale)
    chain.mine()
    chain.control("/reorg", {"depth": 1, "drop": [stale.txid]})
    assert chain.arc(f"/tx/{stale.txid}").json()["txStatus"] == "MINED_IN_STALE_BLOCK"
    for tx in (evicted, stale):
        assert submit(chain, tx).json()["txStatus"] == "SEEN_ON_NETWORK"


def test_policy_and_health(chain):
    policy = chain.arc("/policy").json()["policy"]
    assert policy["miningFee"] == {"satoshis": 50, "bytes": 1000}
    assert policy["standardFormatSupported"] is True
    assert chain.arc("/health").json() == {"healthy": True, "version": "devnet", "reason": None}
