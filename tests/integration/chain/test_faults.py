"""Bad weather on request."""

import json
import time

import pytest
import requests

from app.bitcoin.merkle import MerklePath


def plan(chain, *faults):
    chain.control("/faults", {"faults": list(faults)})


def test_cut_before_loses_the_request(chain, wallet):
    tx = wallet.spend(wallet.fund())
    plan(chain, {"kind": "cut_before", "path": "/tx/raw", "times": 1})
    with pytest.raises(requests.ConnectionError):
        chain.send(tx)
    assert chain.status(tx.txid)["error"] == "unknown"
    assert chain.send(tx) == tx.txid


def test_cut_after_loses_only_the_answer(chain, wallet):
    tx = wallet.spend(wallet.fund())
    plan(chain, {"kind": "cut_after", "path": "/tx/raw", "times": 1})
    with pytest.raises(requests.ConnectionError):
        chain.send(tx)
    assert chain.status(tx.txid) == {"txid": tx.txid}
    assert chain.send(tx) == "Transaction already in the mempool"


@pytest.mark.parametrize(("status", "retry_after"), [(429, 2), (503, None), (500, None)])
def test_status_answers_instead_of_the_service(chain, wallet, status, retry_after):
    tx = wallet.spend(wallet.fund())
    fault = {"kind": "status", "status": status, "path": "/tx/raw", "times": 1}
    plan(chain, fault | ({"retry_after": retry_after} if retry_after else {}))
    response = chain.woc("/tx/raw", {"txhex": tx.to_hex()})
    assert response.status_code == status
    assert response.headers.get("Retry-After") == (str(retry_after) if retry_after else None)
    assert chain.status(tx.txid)["error"] == "unknown"


def test_garbage_is_html_under_200(chain, wallet):
    plan(chain, {"kind": "garbage", "path": "/chain/info", "times": 1})
    response = chain.woc("/chain/info")
    assert (response.status_code, response.headers["Content-Type"]) == (
        200,
        "text/html; charset=utf-8",
    )
    assert response.text.startswith("<!DOCTYPE html>")


def test_delay_answers_late_and_composes_with_others(chain):
    plan(
        chain,
        {"kind": "delay", "seconds": 0.3, "times": 1},
        {"kind": "status", "status": 503, "times": 1},
    )
    started = time.monotonic()
    assert chain.woc("/chain/info").status_code == 503
    assert time.monotonic() - started >= 0.3


def test_false_missing_inputs_accepts_nothing(chain, wallet):
    tx = wallet.spend(wallet.fund())
    plan(chain, {"kind": "false_missing_inputs", "times": 2})
    assert chain.woc("/woc").status_code == 200
    assert chain.send(tx) == "Missing inputs"
    assert chain.status(tx.txid)["error"] == "unknown"
    body = chain.arc("/tx", {"rawTx": tx.to_extended_hex()}).json()
    assert body["txStatus"] == "SEEN_IN_ORPHAN_MEMPOOL"
    assert chain.arc(f"/tx/{tx.txid}").status_code == 404
    assert chain.send(tx) == tx.txid


def test_accepted_and_called_missing(chain, wallet):
    tx = wallet.spend(wallet.fund())
    plan(chain, {"kind": "accept_then_missing_inputs", "times": 1})
    assert chain.send(tx) == "Missing inputs"
    assert chain.status(tx.txid) == {"txid": tx.txid}


def test_hidden_outputs_are_missing_from_the_lists_only(chain, wallet):
    coins = wallet.fund(outputs=3)
    hidden = str(coins[0].outpoint)
    path = f"/address/{wallet.address}/unspent/all"
    plan(chain, {"kind": "hide_outputs", "times": 1})
    assert chain.woc(path).json()["result"] == []
    plan(chain, {"kind": "hide_outputs", "times": 1, "outpoints": [hidden]})
    assert len(chain.woc(path).json()["result"]) == 2
    assert len(chain.woc(path).json()["result"]) == 3
    assert chain.send(wallet.spend(coins)) != "Missing inputs"


def test_bad_merkle_path_leads_elsewhere(chain, wallet):
    tx = wallet.spend(wallet.fund())
    chain.arc("/tx", {"rawTx": tx.to_extended_hex()})
    height = chain.mine()["height"]
    root = chain.woc(f"/block/{height}/header").json()["merkleroot"]
    plan(chain, {"kind": "bad_merkle_path", "times": 2})
    (proof,) = chain.woc(f"/tx/{tx.txid}/proof/tsc").json()
    path = MerklePath.from_tsc(height, tx.txid, proof["index"], proof["nodes"])
    assert path.root(tx.txid) != root
    bump = chain.arc(f"/tx/{tx.txid}").json()["merklePath"]
    assert MerklePath.from_hex(bump).root(tx.txid) != root
    bump = chain.arc(f"/tx/{tx.txid}").json()["merklePath"]
    assert MerklePath.from_hex(bump).root(tx.txid) == root


def test_faults_count_down_and_show_what_is_left(chain):
    plan(chain, {"kind": "status", "times": 2, "path": "/woc"}, {"kind": "delay", "path": "/x"})
    assert chain.woc("/woc").status_code == 503
    first, second = chain.control("/faults")["faults"]
    assert (first["kind"], first["times"], first["hits"]) == ("status", 1, 1)
    assert (second["kind"], second["times"], second["hits"]) == ("delay", None, 0)
    assert chain.woc("/chain/info").status_code == 200
    assert chain.woc("/woc").status_code == 503
    assert chain.woc("/woc").status_code == 200
    assert [each["kind"] for each in chain.control("/faults")["faults"]] == ["delay"]
    cleared = chain.http.delete(chain.url + "/control/faults", timeout=5).json()
    assert cleared == {"faults": []}


def test_probability_zero_never_strikes_and_one_always(chain):
    plan(chain, {"kind": "status", "probability": 0})
    assert {chain.woc("/woc").status_code for _ in range(20)} == {200}
    plan(chain, {"kind": "status", "probability": 1})
    assert {chain.woc("/woc").status_code for _ in range(5)} == {503}


def test_methods_can_be_told_apart(chain):
    plan(chain, {"kind": "status", "method": "post"})
    assert chain.woc("/woc").status_code == 200
    assert chain.woc("/txs/status", {"txids": ["ab" * 32]}).status_code == 503


def test_control_port_is_out_of_the_weather(chain):
    plan(chain, {"kind": "cut_before"})
    assert chain.control("/health")["status"] == "ok"


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"kind": "earthquake"},
        {"kind": "delay", "seconds": -1},
        {"kind": "delay", "seconds": "1"},
        {"kind": "status", "status": 200},
        {"kind": "status", "times": 0},
        {"kind": "status", "probability": 2},
        {"kind": "status", "path": 5},
        {"kind": "hide_outputs", "outpoints": "x"},
        {"kind": "delay", "hits": 5},
        "delay",
    ],
)
def test_unclear_faults_are_refused_and_none_of_them_is_put_in_force(chain, fault):
    body = {"faults": [{"kind": "cut_before"}, fault]}
    response = chain.http.post(chain.url + "/control/faults", json=body, timeout=5)
    assert response.status_code == 400
    assert json.loads(response.text)["error"]
    assert chain.control("/faults") == {"faults": []}
