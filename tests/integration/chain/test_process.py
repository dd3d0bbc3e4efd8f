"""The process: start, refusal, signals, and what a kill leaves behind."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

from app.bitcoin.keys import PrivateKey
from tests.integration.chain.conftest import ChainProcess, Wallet


def run(*options, **environment):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "devnet.chain", *options],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "APP_ENV": "test", **environment},
    )


def test_ready_line_names_port_and_height(chain):
    assert chain.ready["event"] == "ready"
    assert chain.ready["height"] >= 101
    assert chain.ready["pid"] == chain.process.pid


def test_help_teaches(chain):
    shown = run("--help").stdout
    for word in (
        "--mine-interval",
        "--min-fee-per-kb",
        "/control/fund",
        "WOC_BASE_URL",
        "cut_after",
    ):
        assert word in shown


def test_production_is_refused(tmp_path):
    refused = run("--port", "0", "--data-dir", str(tmp_path / "x"), APP_ENV="production")
    assert refused.returncode != 0
    assert "production" in refused.stderr
    assert not (tmp_path / "x").exists()


def test_port_in_use_is_told_in_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run("--port", str(port), "--data-dir", str(tmp_path))
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert str(port) in refused.stderr


def test_second_process_on_one_directory_is_refused(tmp_path):
    first = ChainProcess(tmp_path)
    refused = run("--port", "0", "--data-dir", str(tmp_path))
    assert refused.returncode == 1
    assert "Another chain runs" in refused.stderr
    assert first.stop()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_cleanly_and_the_key_is_in_no_output(tmp_path, number):
    process = ChainProcess(tmp_path)
    wallet = Wallet(process)
    process.send(wallet.spend(wallet.fund()))
    code, output = process.stop(number)
    assert code == 0
    key = (tmp_path / "faucet.wif").read_text().strip()
    assert key not in output
    assert PrivateKey.from_wif(key).to_bytes().hex() not in output
    mode = stat.S_IMODE((tmp_path / "faucet.wif").stat().st_mode)
    assert mode == 0o600


def test_restart_keeps_the_chain_the_mempool_and_the_key(tmp_path):
    process = ChainProcess(tmp_path)
    wallet = Wallet(process)
    tx = wallet.spend(wallet.fund())
    process.send(tx)
    before = process.woc("/chain/info").json()
    faucet = process.ready["faucet"]
    process.stop()
    process = ChainProcess(tmp_path)
    assert process.ready["faucet"] == faucet
    assert process.woc("/chain/info").json() == before
    assert process.status(tx.txid) == {"txid": tx.txid}
    process.mine()
    assert process.status(tx.txid)["confirmations"] == 1
    assert process.stop()[0] == 0


def test_kill_at_any_moment_keeps_what_was_answered(tmp_path):
    process = ChainProcess(tmp_path, "--mine-interval", "0.05")
    wallet = Wallet(process)
    coins = wallet.fund(outputs=200)
    accepted = []
    deadline = time.monotonic() + 0.8
    for coin in coins:
        tx = wallet.spend([coin])
        accepted.append(process.send(tx))
        if time.monotonic() > deadline:
            break
    process.stop(signal.SIGKILL)
    process = ChainProcess(tmp_path)
    process.mine()
    known = []
    for start in range(0, len(accepted), 20):
        known += process.woc("/txs/status", {"txids": accepted[start : start + 20]}).json()
    assert all(entry.get("confirmations", 0) >= 1 for entry in known)
    height = process.control("/stats")["height"]
    previous = process.woc("/block/0/header").json()["hash"]
    for each in range(1, height + 1):
        header = process.woc(f"/block/{each}/header").json()
        assert header["previousblockhash"] == previous
        previous = header["hash"]
    balance = process.woc(f"/address/{wallet.address}/confirmed/balance").json()["confirmed"]
    assert balance == 200 * 10_000 - 100 * len(accepted)
    assert process.stop()[0] == 0


def test_blocks_come_by_themselves_on_an_interval(tmp_path):
    process = ChainProcess(tmp_path, "--mine-interval", "0.1")
    wallet = Wallet(process)
    tx = wallet.spend(wallet.fund())
    process.send(tx)
    deadline = time.monotonic() + 10
    while "confirmations" not in process.status(tx.txid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert process.stop()[0] == 0


def test_fee_floor_is_a_setting(tmp_path):
    process = ChainProcess(tmp_path, "--min-fee-per-kb", "1000")
    wallet = Wallet(process)
    coins = wallet.fund()
    assert process.send(wallet.spend(coins, fee=100)) == "66: mempool min fee not met"
    tx = wallet.spend(coins, fee=250)
    assert process.send(tx) == tx.txid
    assert process.woc("/feerecommendation").json()["fee"] == 1000
    assert process.arc("/policy").json()["policy"]["miningFee"]["satoshis"] == 1000
    assert process.stop()[0] == 0
