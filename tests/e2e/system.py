"""One whole system of real processes, and what tests ask of it from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import psutil
import requests
from bsv.script.script import Script
from bsv.script.spend import Spend
from bsv.transaction import Transaction as SdkTransaction
from celery import Celery
from pymongo import MongoClient

from app.bitcoin.transactions import Transaction
from demo.catalogue import Product, load_products
from demo.chain import ChainClient
from devnet.supervisor import Devnet
from patchproof_client import Network, OwnerKey, PatchProofClient, Submitted, Verification

CONFIRM_SECONDS = 80.0
BLOCK_SECONDS = 45.0
_ENVELOPE = b"\x0aPatchProof"

_serials = count(1)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class System:
    """A running devnet with everything in it."""

    exports: Mapping[str, str]
    client: PatchProofClient
    chain: ChainClient
    database: MongoClient[dict[str, Any]]
    celery: Celery
    net: Devnet

    def make_owner(self) -> OwnerKey:
        return OwnerKey.generate(Network(self.exports["WOC_NETWORK"]))

    def make_products(self, number: int) -> list[Product]:
        """Products of the demo's catalogue with tags that no other test has sewn in."""
        catalogue = load_products()
        serials = [next(_serials) for _ in range(number)]
        return [catalogue[serial % len(catalogue)].with_fresh_tag(serial) for serial in serials]

    def register(self, product: Product, owner: OwnerKey) -> Submitted:
        return self.client.register(product.product, owner.address, product.metadata)

    def register_confirmed(self, product: Product, owner: OwnerKey) -> str:
        """Registers, waits, answers the head."""
        return self.confirm(self.register(product, owner))

    def confirm(self, submitted: Submitted) -> str:
        return self.client.wait_until_confirmed(submitted, timeout_seconds=CONFIRM_SECONDS)

    def verify_mined(self, uid_tag_id: str, *, is_woken: bool = True) -> Verification:
        """Waits until verify shows a block, for beat's next round unless the tracker is woken."""

        def ask() -> Verification:
            if is_woken:
                self.celery.send_task("track-transactions", queue="maintenance", expires=1.0)
            return self.client.verify(uid_tag_id)

        return wait_for(
            ask,
            lambda answer: answer.details.block_height is not None,
            seconds=BLOCK_SECONDS,
            pause=0.5,
        )

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request to the API as it goes over the wire."""
        url = self.exports["BASE_URL"] + path
        return requests.request(method, url, timeout=30, **options)

    @property
    def api_key(self) -> dict[str, str]:
        return {"x-api-key": self.exports["API_KEY"]}

    def control(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.exports['CHAIN_CONTROL_URL']}/{path}"
        response = requests.request(method, url, json=body, timeout=30)
        response.raise_for_status()
        return response.json()

    def envelopes(self) -> dict[str, str]:
        """Every transaction on the chain, mempool too, that carries an envelope: txid to hex."""
        rows = self.control("GET", "transactions")["transactions"]
        return {row["txid"]: row["hex"] for row in rows if _ENVELOPE in bytes.fromhex(row["hex"])}

    def records(self, **condition: Any) -> list[dict[str, Any]]:
        return self._rows("authentication_records", condition)

    def transactions(self, **condition: Any) -> list[dict[str, Any]]:
        return self._rows("transactions", condition)

    def _rows(self, collection: str, condition: dict[str, Any]) -> list[dict[str, Any]]:
        return list(self.database[self.exports["DB_NAME"]][collection].find(condition))


def wait_for(
    ask: Callable[[], ResultT],
    is_enough: Callable[[ResultT], bool],
    *,
    seconds: float,
    pause: float = 0.1,
) -> ResultT:
    """Asks again and again until the answer will do."""
    deadline = time.monotonic() + seconds
    while not is_enough(answer := ask()):
        assert time.monotonic() < deadline, f"after {seconds} seconds: {answer}"
        time.sleep(pause)
    return answer


def at_once(jobs: Sequence[Callable[[], ResultT]], *, threads: int) -> list[ResultT]:
    """Runs all jobs with so many threads; answers their results in order."""
    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def processes_of(directory: Path) -> dict[int, str]:
    """Running processes that know this devnet's directory: number to command."""
    found = {}
    for process in psutil.process_iter():
        try:
            known = [*process.cmdline(), *process.environ().values()]
            is_dead = process.status() == psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if not is_dead and any(str(directory) in text for text in known):
            found[process.pid] = " ".join(process.cmdline())
    return found


def is_valid_elsewhere(transaction: Transaction) -> bool:
    """Whether bsv-sdk's interpreter accepts every input; the spent outputs are known."""
    sdk = SdkTransaction.from_hex(transaction.to_hex())
    assert sdk is not None
    assert sdk.txid() == transaction.txid
    return all(_accepts(sdk, transaction, index) for index in range(len(transaction.inputs)))


def _accepts(sdk: SdkTransaction, transaction: Transaction, index: int) -> bool:
    spending, spent = sdk.inputs[index], transaction.inputs[index].spent
    assert spent is not None
    return bool(
        Spend(
            {
                "sourceTXID": spending.source_txid,
                "sourceOutputIndex": spending.source_output_index,
                "sourceSatoshis": spent.satoshis,
                "lockingScript": Script(spent.locking_script),
                "transactionVersion": sdk.version,
                "otherInputs": [each for n, each in enumerate(sdk.inputs) if n != index],
                "inputIndex": index,
                "unlockingScript": spending.unlocking_script,
                "outputs": sdk.outputs,
                "inputSequence": spending.sequence,
                "lockTime": sdk.locktime,
            }
        ).validate()
    )
