"""The services of one process on the real database, Redis, signer and chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import requests
from bson import ObjectId

from app import extensions
from app.bitcoin.addresses import Network, parse_address
from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import p2pkh_locking_script, p2pkh_unlocking_script
from app.bitcoin.sighash import sighashes
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.config import Settings, load_settings
from app.domain.messages import digest, transfer_message
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.utxo import Utxo
from app.services import anchoring, claims, pool_sync, reaper, registration, sweeper, transfers
from app.services.submission import Submission
from devnet.supervisor import Devnet

# Short, so that a test of an outage ends; long enough for a busy machine.
PATIENCE = {
    "WOC_TIMEOUT_MS": "2000",
    "WOC_RETRIES": "0",
    "KMS_SIGN_TIMEOUT_MS": "5000",
    "KMS_SIGN_RETRY_ATTEMPTS": "1",
    # The lab's clock jumps ahead; a circuit's does not, and would keep it waiting.
    "CIRCUIT_FAILURES": "1000000",
}
COIN_SATOSHIS = 2000
# The fields that say when something was done or is to be done.
_TIMES = {
    "authentication_records": ("claimed_at", "next_attempt_at"),
    "transactions": ("next_attempt_at",),
    "utxos": ("locked_at",),
    "claim_intents": ("expires_at", "next_attempt_at"),
}


@dataclass(frozen=True)
class Owner:
    """Somebody with a key."""

    key: PrivateKey = field(default_factory=PrivateKey.generate)

    @property
    def address(self) -> str:
        return self.key.public_key.address(Network.REGTEST)

    @property
    def public_key_hex(self) -> str:
        return self.key.public_key.to_hex()

    def sign(self, message: bytes) -> str:
        """A signature over the message's SHA-256, DER in hex."""
        return self.key.sign(digest(message)).hex()


class Lab:
    """What a test does to the services and to the world around them."""

    def __init__(self, devnet: Devnet) -> None:
        self.devnet = devnet
        self.env: Mapping[str, str] = devnet.env
        self._control = self.env["CHAIN_CONTROL_URL"]
        self.first_height = 0

    # The process under test

    def configure(self, **settings: str) -> Settings:
        """Starts the services anew with these settings above the devnet's own."""
        loaded = load_settings({**self.env, **PATIENCE, **settings})
        self.close()
        extensions.init(loaded)
        return loaded

    def begin(self) -> None:
        """Leaves nothing of earlier tests on the funding address, and counts blocks from here."""
        self.mine()
        address = self.settings.utxo_funding_address
        if extensions.get().chain.list_unspent(address):
            # Dust does not pay for its own way out.
            self.fund(1, satoshis=100_000)
            script = parse_address(address, self.settings.woc_network).locking_script()
            self.spend_outside(
                [
                    TxInput(Outpoint(each.txid, each.vout), TxOutput(each.satoshis, script))
                    for each in extensions.get().chain.list_unspent(address)
                ]
            )
        self.first_height = self.mine() + 1

    @staticmethod
    def close() -> None:
        """Closes what `configure` has opened."""
        try:
            current = extensions.get()
        except RuntimeError:
            return
        current.redis.close()
        current.chain.close()
        current.kms.close()
        current.database.close()

    @property
    def settings(self) -> Settings:
        return extensions.get().settings

    def collection(self, name: str) -> Any:
        """A collection below the documents, to look at or to tamper with."""
        current = extensions.get()
        return current.database[current.settings.db_name][name]

    def pass_time(self, seconds: float = 3600) -> None:
        """Lets time pass for everything stored: leases run out, pauses end."""
        for name, fields in _TIMES.items():
            for row in self.collection(name).find({}, dict.fromkeys(fields, 1)):
                earlier = {
                    key: row[key] - timedelta(seconds=seconds) for key in fields if row.get(key)
                }
                if earlier:
                    self.collection(name).update_one({"_id": row["_id"]}, {"$set": earlier})

    def sweep_until_quiet(self, rounds: int = 15) -> None:
        """Does what beat does, with time passing in between, until it changes nothing more."""
        before = None
        for _ in range(rounds):
            self.pass_time()
            reaper.reap()
            claims.settle_due()
            sweeper.sweep()
            now = self._standing()
            if now == before:
                return
            before = now
        raise AssertionError(f"still not quiet after {rounds} rounds")

    def _standing(self) -> list[list[Any]]:
        fields = {"status": 1, "attempts": 1, "lock_id": 1, "transaction_id": 1}
        return [list(self.collection(name).find({}, fields).sort("_id", 1)) for name in _TIMES]

    def sweep_once(self) -> None:
        """Does what beat does, once, after a while."""
        self.pass_time()
        sweeper.sweep()

    # What people do

    def register(self, uid: str, owner: Owner | None = None, **metadata: Any) -> Submission:
        """Accepts a registration."""
        return registration.register(
            product={"uid_tag_id": uid, "product_name": "Rain jacket"},
            metadata=metadata or {"notes": "blue, size M"},
            owner=(owner or Owner()).address,
        )

    def register_many(self, count: int, prefix: str = "NFC") -> list[AuthenticationRecord]:
        """Accepts registrations that nobody has anchored yet."""
        return [self.register(f"{prefix}-{number:03}").record for number in range(count)]

    def registered(self, uid: str, owner: Owner) -> AuthenticationRecord:
        """Registers a patch and anchors it."""
        record = self.register(uid, owner).record
        anchoring.anchor([record])
        return self.reload(record)

    def transfer(self, head: str, owner: Owner, new_owner: Owner, uid: str) -> Submission:
        """Accepts a transfer that the owner has signed."""
        return transfers.transfer(
            head=head,
            new_owner=new_owner.address,
            signature_der_hex=owner.sign(transfer_message(uid, head, new_owner.address)),
            public_key_hex=owner.public_key_hex,
        )

    @staticmethod
    def reload(record: AuthenticationRecord) -> AuthenticationRecord:
        """The record as it is stored now."""
        found: AuthenticationRecord | None = AuthenticationRecord.objects(id=record.id).first()
        assert found is not None
        return found

    @staticmethod
    def transaction_of(record: AuthenticationRecord) -> ChainTransaction:
        """The transaction that the record names."""
        found = ChainTransaction.objects(id=Lab.reload(record).transaction_id).first()
        assert found is not None
        return found

    @staticmethod
    def transactions_of(record_id: ObjectId) -> list[ChainTransaction]:
        """Every transaction that was ever stored for a record."""
        return list(ChainTransaction.objects(records__record_id=record_id))

    # The chain

    def fund(self, outputs: int, satoshis: int = COIN_SATOSHIS) -> str:
        """Pays the pool; answers the txid."""
        body = {
            "address": self.settings.utxo_funding_address,
            "satoshis": satoshis,
            "outputs": outputs,
        }
        txid: str = self.control("fund", body)["txid"]
        return txid

    def fill_pool(self, outputs: int, satoshis: int = COIN_SATOSHIS) -> None:
        """Gives the pool spendable outputs."""
        self.fund(outputs, satoshis)
        self.mine()
        pool_sync.sync()

    def mine(self, blocks: int = 1) -> int:
        """Mines blocks; answers the height of the tip."""
        return int(self.control("mine", {"blocks": blocks})["height"])

    def set_faults(self, *faults: dict[str, Any]) -> None:
        """Replaces the faults in force."""
        self.clear_faults()
        self.control("faults", {"faults": list(faults)})

    def clear_faults(self) -> None:
        requests.delete(f"{self._control}/faults", timeout=10).raise_for_status()

    def control(self, path: str, body: dict[str, Any]) -> Any:
        """Sends one command to the chain's control port."""
        answer = requests.post(f"{self._control}/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def chain_transactions(self) -> dict[str, dict[str, Any]]:
        """What the chain has taken since the test began, by txid, mempool included."""
        url = f"{self._control}/transactions?since_height={self.first_height}"
        answer = requests.get(url, timeout=10)
        answer.raise_for_status()
        return {row["txid"]: row for row in answer.json()["transactions"]}

    def accepted_count(self) -> int:
        """How many transactions the chain has accepted since it started."""
        return int(requests.get(f"{self._control}/stats", timeout=10).json()["accepted"])

    @staticmethod
    def broadcast(transaction: ChainTransaction) -> None:
        """Sends a stored transaction and takes no notice of the answer."""
        extensions.get().chain.broadcast(transaction.raw_tx_hex, transaction.txid)

    def spend_outside(self, inputs: Sequence[TxInput]) -> str:
        """Spends outputs of the pool behind the service's back; answers the txid."""
        total = sum(each.require_spent().satoshis for each in inputs)
        script = p2pkh_locking_script(Owner().key.public_key.hash160())
        fee = 20 * (len(inputs) + 1)
        unsigned = Transaction(tuple(inputs), (TxOutput(total - fee, script),))
        signatures = self._sign_outside(sighashes(unsigned))
        signed = unsigned.with_unlocking_scripts(
            [
                p2pkh_unlocking_script(
                    bytes.fromhex(each["signatureHex"]), bytes.fromhex(each["pubKeyHex"])
                )
                for each in signatures
            ]
        )
        outcome = extensions.get().chain.broadcast(signed.to_hex(), signed.txid)
        assert outcome.is_success, outcome
        return signed.txid

    def spend_coin_outside(self, coin: Utxo) -> str:
        """The same for one output that the pool knows."""
        return self.spend_outside([TxInput(coin.point, coin.output)])

    def spend_output_outside(self, transaction: ChainTransaction, vout: int) -> str:
        """The same for an output of a transaction, whether the pool knows it or not."""
        output = Transaction.from_bytes(bytes(transaction.raw_tx)).outputs[vout]
        return self.spend_outside([TxInput(Outpoint(transaction.txid, vout), output)])

    def _sign_outside(self, digests: Sequence[bytes]) -> list[dict[str, str]]:
        answer = requests.post(
            f"{self.env['KMS_SIGN_URL']}/sign",
            json={
                "requests": [
                    {"keyIdentifier": "funding", "sighash": each.hex()} for each in digests
                ]
            },
            headers={"Authorization": f"Bearer {self.env['KMS_API_KEY']}"},
            timeout=10,
        )
        answer.raise_for_status()
        signatures: list[dict[str, str]] = answer.json()["signatures"]
        return signatures


@contextmanager
def open_lab(devnet: Devnet) -> Iterator[Lab]:
    """The services in this process, on an empty database and a chain without faults."""
    lab = Lab(devnet)
    lab.configure()
    if extensions.missing_indexes():
        extensions.ensure_indexes()
    lab.begin()
    try:
        yield lab
    finally:
        lab.clear_faults()
        lab.close()
