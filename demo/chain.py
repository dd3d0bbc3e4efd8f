"""What the chain itself says: read over its public wire, moved on over its control port."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import requests

from app.bitcoin.transactions import Transaction, TxInput
from demo.errors import DemoError

TIMEOUT_SECONDS = (3.0, 60.0)
# WhatsOnChain answers at most so many transactions at once.
MAX_TXIDS = 20


@dataclass(frozen=True)
class OnChain:
    """A transaction as the chain holds it, its inputs with the outputs that they spend."""

    transaction: Transaction
    block_height: int | None


class ChainClient:
    """Reads with WhatsOnChain's wire, so the demo asks what anyone may ask."""

    def __init__(self, woc_url: str, control_url: str) -> None:
        self.woc_url = woc_url
        self._control_url = control_url
        self._session = requests.Session()

    def close(self) -> None:
        self._session.close()

    def fund(self, address: str, satoshis: int) -> str:
        """Has the faucet pay one output; answers the txid."""
        return str(self._control("fund", {"address": address, "satoshis": satoshis})["txid"])

    def mine(self, blocks: int = 1) -> int:
        """Mines blocks, the first of which takes the mempool; answers the new height."""
        return int(self._control("mine", {"blocks": blocks})["height"])

    def load(self, txids: Iterable[str]) -> dict[str, OnChain]:
        """Fetches transactions and what they spend.

        Raises DemoError when the chain does not know one of them.
        """
        found = self._fetch(txids)
        parents = self._fetch(
            source.outpoint.txid for each in found.values() for source in each.transaction.inputs
        )
        return {
            txid: replace(each, transaction=_with_spent(each.transaction, parents))
            for txid, each in found.items()
        }

    def _fetch(self, txids: Iterable[str]) -> dict[str, OnChain]:
        wanted = sorted(set(txids))
        found: dict[str, OnChain] = {}
        for start in range(0, len(wanted), MAX_TXIDS):
            body = {"txids": wanted[start : start + MAX_TXIDS]}
            for row in self._post(f"{self.woc_url}/txs/hex", body):
                found[row["txid"]] = _read(row)
        return found

    def _control(self, path: str, body: dict[str, Any]) -> Any:
        return self._post(f"{self._control_url}/{path}", body)

    def _post(self, url: str, body: dict[str, Any]) -> Any:
        response = self._session.post(url, json=body, timeout=TIMEOUT_SECONDS)
        if not response.ok:
            raise DemoError(f"the chain answers {response.status_code}: {response.text[:200]}")
        return response.json()


def _read(row: dict[str, Any]) -> OnChain:
    txid = row["txid"]
    if "hex" not in row:
        raise DemoError(f"the chain does not know {txid}")
    transaction = Transaction.from_hex(row["hex"])
    if transaction.txid != txid:
        raise DemoError(f"the chain answers {transaction.txid} for {txid}")
    return OnChain(transaction, row.get("blockheight"))


def _with_spent(transaction: Transaction, parents: dict[str, OnChain]) -> Transaction:
    return replace(
        transaction, inputs=tuple(_resolve(source, parents) for source in transaction.inputs)
    )


def _resolve(source: TxInput, parents: dict[str, OnChain]) -> TxInput:
    parent = parents[source.outpoint.txid].transaction
    return replace(source, spent=parent.outputs[source.outpoint.vout])
