"""A real chain process, and a wallet that spends what its faucet pays."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from app.bitcoin.addresses import Network
from app.bitcoin.hashes import is_txid
from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import data_locking_script, script_hash
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from devnet.chain.payments import locking_script_of, sign

FEE = 100


class ChainProcess:
    """`python -m devnet.chain` on a free port."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        environment = {**os.environ, "APP_ENV": "test"}
        arguments = ["--port", "0", "--data-dir", str(data_dir), *options]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "devnet.chain", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        self.ready = json.loads(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.ready['port']}"
        self.http = requests.Session()
        self.http.trust_env = False

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End the process; return its exit code and all that it printed."""
        self.http.close()
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out + err

    def woc(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        """Ask WhatsOnChain's wire: POST with a body, GET without."""
        return self._ask("/v1/bsv/test" + path, body, **options)

    def arc(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        """Ask ARC's wire."""
        return self._ask("/arc/v1" + path, body, **options)

    def control(self, path: str, body: Any = None) -> Any:
        """Ask the control port, which must agree."""
        response = self._ask("/control" + path, body)
        assert response.status_code == 200, response.text
        return response.json()

    def _ask(self, path: str, body: Any, **options: Any) -> requests.Response:
        method = "GET" if body is None else "POST"
        options.setdefault("timeout", 20)
        return self.http.request(method, self.url + path, json=body, **options)

    def send(self, tx: Transaction | str) -> str:
        """Broadcast through WhatsOnChain; return the node's words or the txid."""
        raw_tx_hex = tx if isinstance(tx, str) else tx.to_hex()
        response = self.woc("/tx/raw", {"txhex": raw_tx_hex})
        words: str = json.loads(response.text)
        assert response.status_code == (200 if is_txid(words) else 400)
        return words.removeprefix("unexpected response code 500: ")

    def mine(self, blocks: int = 1) -> dict[str, Any]:
        """Mine blocks."""
        mined: dict[str, Any] = self.control("/mine", {"blocks": blocks})
        return mined

    def status(self, txid: str) -> dict[str, Any]:
        """Return the bulk status of one transaction."""
        (entry,) = self.woc("/txs/status", {"txids": [txid]}).json()
        return dict(entry)


class Wallet:
    """One fresh key with coins of the faucet."""

    def __init__(self, chain: ChainProcess) -> None:
        self.chain = chain
        self.key = PrivateKey.generate()
        self.address = self.key.public_key.address(Network.REGTEST)
        self.script = locking_script_of(self.key)
        self.script_hash = script_hash(self.script)

    def fund(self, satoshis: int = 10_000, outputs: int = 1) -> list[TxInput]:
        """Return coins that the faucet has just paid, unconfirmed."""
        body = {"address": self.address, "satoshis": satoshis, "outputs": outputs}
        paid = self.chain.control("/fund", body)
        return [self.coin(paid["txid"], vout, satoshis) for vout in paid["vouts"]]

    def coin(self, txid: str, vout: int, satoshis: int) -> TxInput:
        """Return the spending of an output of this wallet."""
        return TxInput(Outpoint(txid, vout), TxOutput(satoshis, self.script))

    def draft(self, coins: Sequence[TxInput], data: bytes = b"data", fee: int = FEE) -> Transaction:
        """Return an unsigned transaction with a data output and change to the same key."""
        total = sum(coin.require_spent().satoshis for coin in coins)
        outputs = (TxOutput(0, data_locking_script([data])), TxOutput(total - fee, self.script))
        return Transaction(tuple(coins), outputs)

    def sign(self, tx: Transaction) -> Transaction:
        """Sign every input."""
        return sign(tx, self.key)

    def spend(self, coins: Sequence[TxInput], data: bytes = b"data", fee: int = FEE) -> Transaction:
        """Return the draft, signed."""
        return self.sign(self.draft(coins, data, fee))

    def change_of(self, tx: Transaction) -> TxInput:
        """Return the spending of a transaction's change."""
        return self.coin(tx.txid, 1, tx.outputs[1].satoshis)


@pytest.fixture(scope="session")
def chain_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    process = ChainProcess(tmp_path_factory.mktemp("chain"))
    yield process
    code, output = process.stop()
    assert code == 0, output
    assert "Traceback" not in output, output


@pytest.fixture
def chain(chain_process: ChainProcess) -> Iterator[ChainProcess]:
    yield chain_process
    chain_process.http.delete(chain_process.url + "/control/faults", timeout=5)


@pytest.fixture
def wallet(chain: ChainProcess) -> Wallet:
    return Wallet(chain)
