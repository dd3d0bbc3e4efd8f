"""A pool of its own for each test: a fresh key and address on the session's chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from bson import ObjectId
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
    register,
)

from app import extensions
from app.bitcoin.addresses import Network, parse_address
from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import p2pkh_unlocking_script
from app.bitcoin.sighash import sighashes
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.config import Settings, load_settings
from app.models.record import AuthenticationRecord
from app.models.setting import Setting
from app.models.transaction import ChainTransaction
from app.models.utxo import NewUtxo, Utxo
from app.services import pool_sync, registration
from devnet.supervisor import Devnet
from tests.integration.pool.signer_thread import SignerThread

PATIENCE = {
    "WOC_TIMEOUT_MS": "2000",
    "WOC_RETRIES": "0",
    "KMS_SIGN_TIMEOUT_MS": "5000",
    "KMS_SIGN_RETRY_ATTEMPTS": "1",
    "SPLIT_COOLDOWN_MS": "0",
}
STRANGER = PrivateKey.from_hex("22" * 32)


class World:
    """The services in this process; what the test is about is the pool."""

    def __init__(self, devnet: Devnet, signer: SignerThread) -> None:
        self.devnet = devnet
        self.signer = signer
        self.key_identifier, self.key = signer.take_key()
        self._control = devnet.env["CHAIN_CONTROL_URL"]
        self.environ: dict[str, str] = {}
        self.configure()
        # What other tests have left in the mempool is none of ours.
        self.mine()
        self.first_height = self._height() + 1

    def configure(self, **overrides: str) -> Settings:
        """Makes the services with other settings."""
        self.environ = {
            **self.devnet.env,
            **PATIENCE,
            "KMS_SIGN_URL": self.signer.url,
            "KMS_API_KEY": self.signer.api_key,
            "ISSUER_KEY_IDENTIFIER": "issuer",
            "ISSUER_PUBLIC_KEYS": self.signer.issuer.public_key.to_hex(),
            "UTXO_FUNDING_KEY_IDENTIFIER": self.key_identifier,
            "UTXO_FUNDING_ADDRESS": self.address,
            "UTXO_CHANGE_ADDRESS": self.address,
            **overrides,
        }
        self.settings = load_settings(self.environ)
        self.reopen()
        return self.settings

    def reopen(self) -> None:
        """Makes the services anew, as another process would."""
        self.close()
        extensions.init(self.settings)

    @property
    def address(self) -> str:
        return self.key.public_key.address(Network.REGTEST)

    def close(self) -> None:
        """Closes the connections of the services."""
        try:
            current = extensions.get()
        except RuntimeError:
            return
        current.chain.close()
        current.kms.close()
        current.redis.close()

    # The chain

    def fund(self, outputs: int, satoshis: int, *, address: str | None = None) -> list[str]:
        """Pays outputs that wait for a block; answers their outpoints."""
        body = {"address": address or self.address, "satoshis": satoshis, "outputs": outputs}
        paid = self.control("fund", body)
        return [f"{paid['txid']}:{vout}" for vout in paid["vouts"]]

    def fill(self, outputs: int, satoshis: int) -> list[str]:
        """Gives the pool spendable outputs; answers their outpoints."""
        points = self.fund(outputs, satoshis)
        self.mine()
        pool_sync.sync()
        return points

    def mine(self, blocks: int = 1) -> None:
        self.control("mine", {"blocks": blocks})

    def set_faults(self, *faults: dict[str, Any]) -> None:
        self.clear_faults()
        self.control("faults", {"faults": list(faults)})

    def clear_faults(self) -> None:
        requests.delete(f"{self._control}/faults", timeout=10).raise_for_status()

    def control(self, path: str, body: dict[str, Any]) -> Any:
        answer = requests.post(f"{self._control}/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def chain_transactions(self) -> dict[str, dict[str, Any]]:
        """What the chain has taken since the test began, by txid, mempool included."""
        url = f"{self._control}/transactions?since_height={self.first_height}"
        answer = requests.get(url, timeout=10)
        answer.raise_for_status()
        return {row["txid"]: row for row in answer.json()["transactions"]}

    def spend_outside(self, points: Sequence[str], to: PrivateKey = STRANGER) -> str:
        """Spends outputs behind the service's back, with its key; answers the txid."""
        coins = Utxo.find_all(points)
        inputs = tuple(TxInput(coins[p].point, coins[p].output) for p in points)
        script = parse_address(
            to.public_key.address(Network.REGTEST), Network.REGTEST
        ).locking_script()
        total = sum(coin.satoshis for coin in coins.values())
        unsigned = Transaction(inputs, (TxOutput(total - 100 * len(inputs), script),))
        public_key = self.key.public_key.to_bytes()
        signed = unsigned.with_unlocking_scripts(
            [p2pkh_unlocking_script(self.key.sign(d), public_key) for d in sighashes(unsigned)]
        )
        outcome = extensions.get().chain.broadcast(signed.to_hex(), signed.txid)
        assert outcome.is_success, outcome
        return signed.txid

    def _height(self) -> int:
        return int(requests.get(f"{self._control}/stats", timeout=10).json()["height"])

    # The service

    def register(self, uid: str = "NFC-1") -> AuthenticationRecord:
        """Accepts a registration."""
        return registration.register(
            product={"uid_tag_id": uid, "product_name": "Rain jacket"},
            metadata={"notes": "blue, size M"},
            owner=STRANGER.public_key.address(Network.REGTEST),
        ).record

    # The database

    def status(self, point: str) -> str:
        return str(Utxo.objects(outpoint=point).get().status)

    def statuses(self) -> dict[str, int]:
        """How many outputs there are in each state."""
        return {
            state: count for state, (count, _) in Utxo.sum_by_status(self.key_identifier).items()
        }

    def amounts(self) -> list[int]:
        """What the spendable outputs hold."""
        rows = Utxo.objects(status="available", key_identifier=self.key_identifier)
        return sorted(row.satoshis for row in rows)

    def put(self, **values: Any) -> None:
        """Sets live settings."""
        for key, value in values.items():
            Setting.put(key, value)

    def snapshot(self) -> dict[str, list[dict[str, Any]]]:
        """Everything that is stored."""
        collections = (Utxo, ChainTransaction, Setting)
        return {c.__name__: list(c._get_collection().find().sort("_id", 1)) for c in collections}

    @contextmanager
    def count_commands(self) -> Iterator[CommandCount]:
        """Counts the commands that reach the database while the body runs."""
        COMMANDS.total = 0
        yield COMMANDS

    def insert(self, count: int, satoshis: int) -> None:
        """Puts rows of outputs that no chain knows into the pool."""
        script = parse_address(self.address, Network.REGTEST).locking_script()
        Utxo.add_all(
            NewUtxo(
                outpoint=_outpoint(),
                satoshis=satoshis,
                locking_script=script,
                key_identifier=self.key_identifier,
                address=self.address,
                is_spendable=True,
            )
            for _ in range(count)
        )


def _outpoint() -> Outpoint:
    return Outpoint((str(ObjectId()) * 3)[:64], 0)


class CommandCount(CommandListener):
    """Counts what is asked of the database."""

    def __init__(self) -> None:
        self.total = 0

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in ("find", "update", "insert", "delete", "aggregate"):
            self.total += 1

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Was counted when it began."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Was counted when it began."""


# Listens to every client that is made from here on.
COMMANDS = CommandCount()
register(COMMANDS)
