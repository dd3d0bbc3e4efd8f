"""An older system as it left its database and the chain: for tests of the import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from pymongo import MongoClient

from app import extensions
from app.bitcoin.addresses import Network
from app.bitcoin.curve import N
from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import (
    data_locking_script,
    p2pkh_locking_script,
    p2pkh_unlocking_script,
)
from app.bitcoin.sighash import sighashes
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.domain.canonical import sha256_hex
from app.domain.messages import digest, registration_message, transfer_message
from tests.integration.pool.world import World
from tests.integration.services.lab import Owner

DAY = datetime(2024, 5, 1, tzinfo=UTC)


def sign(key: PrivateKey, message: bytes, *, is_reversed: bool, is_high: bool = False) -> str:
    """A signature as the older system accepted it."""
    hashed = digest(message)
    der = key.sign(hashed[::-1] if is_reversed else hashed)
    return (_with_high_s(der) if is_high else der).hex()


def _with_high_s(der: bytes) -> bytes:
    r_end = 4 + der[3]
    high = N - int.from_bytes(der[r_end + 2 :], "big")
    body = high.to_bytes(33, "big")
    numbers = der[2:r_end] + bytes([2, len(body)]) + body
    return bytes([0x30, len(numbers)]) + numbers


@dataclass
class Made:
    """A record of the older system, on the chain where it has a txid."""

    row: dict[str, Any]
    txid: str
    owner: Owner
    ts: int
    metadata: Mapping[str, str]

    @property
    def id(self) -> ObjectId:
        return self.row["_id"]


@dataclass
class OlderSystem:
    """Writes rows and sends transactions as the older system did, once its bugs were worked
    around: metadata hashed as it came and stored in another order, digests read backwards."""

    world: World
    name: str
    is_reversed: bool = True
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    time: int = 1_714_550_400_000

    def __post_init__(self) -> None:
        self.client: MongoClient[dict[str, Any]] = MongoClient(self.world.devnet.env["MONGODB_URI"])
        self.database = self.client[self.name]

    @property
    def uri(self) -> str:
        return self.world.devnet.env["MONGODB_URI"].replace("/?", f"/{self.name}?")

    def close(self) -> None:
        self.client.drop_database(self.name)
        self.client.close()

    def registered(
        self,
        uid: str,
        owner: Owner,
        metadata: Mapping[str, str] | None = None,
        issuer: PrivateKey | None = None,
    ) -> Made:
        """A registration that is on the chain."""
        self.time += 1000
        metadata = {} if metadata is None else metadata
        issuer = issuer or self.world.signer.issuer
        text = json.dumps(metadata, separators=(",", ":"), ensure_ascii=False)
        message = registration_message(uid, sha256_hex(text.encode()), self.time)
        auth = {
            "owner": owner.address,
            "issuer_signature": sign(issuer, message, is_reversed=self.is_reversed),
            "issuer_pubkey": issuer.public_key.to_hex(),
            "ts": self.time,
        }
        return self._anchor(_view(uid, metadata, auth), owner, self.time, metadata)

    def handed_on(
        self,
        before: Made,
        new_owner: Owner,
        *,
        signer: Owner | None = None,
        is_high: bool = False,
    ) -> Made:
        """A handover that is on the chain: the issuer's signature is still the first one."""
        self.time += 1000
        record = before.row["record_data"]
        uid = record["product"]["uid_tag_id"]
        by = signer or before.owner
        message = transfer_message(uid, before.txid, new_owner.address)
        auth = {
            "owner": new_owner.address,
            "issuer_signature": record["auth"]["issuer_signature"],
            "issuer_pubkey": record["auth"]["issuer_pubkey"],
            "ts": self.time,
            "prev_txid": before.txid,
            "current_owner_pubkey": by.public_key_hex,
            "current_owner_signature": sign(
                by.key, message, is_reversed=self.is_reversed, is_high=is_high
            ),
        }
        return self._anchor(
            _view(uid, before.metadata, auth), new_owner, self.time, before.metadata
        )

    def send(self, payload: bytes) -> str:
        """Puts data on the chain as the older system did: without an envelope."""
        address = self.key.public_key.address(Network.REGTEST)
        [point] = self.world.fund(1, 5000, address=address)
        script = p2pkh_locking_script(self.key.public_key.hash160())
        unsigned = Transaction(
            (TxInput(Outpoint.from_text(point), TxOutput(5000, script)),),
            (TxOutput(0, data_locking_script([payload])), TxOutput(4000, script)),
        )
        public_key = self.key.public_key.to_bytes()
        signed = unsigned.with_unlocking_scripts(
            [p2pkh_unlocking_script(self.key.sign(d), public_key) for d in sighashes(unsigned)]
        )
        outcome = extensions.get().chain.broadcast(signed.to_hex(), signed.txid)
        assert outcome.is_success, outcome
        return signed.txid

    def store(self, record: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
        """A row of its records, as its schema kept it: evidence dropped, members reordered."""
        auth = record["auth"]
        kept = ("owner", "issuer_signature", "issuer_pubkey", "ts")
        row = {
            "_id": ObjectId(),
            "record_data": {
                **record,
                "metadata": dict(reversed(record["metadata"].items())),
                "auth": {name: auth[name] for name in kept if name in auth},
            },
            "status": "confirmed",
            "created_at": DAY,
            "updated_at": DAY,
            **fields,
        }
        self.database["authenticationrecords"].insert_one(row)
        return row

    def _anchor(
        self, record: dict[str, Any], owner: Owner, ts: int, metadata: Mapping[str, str]
    ) -> Made:
        payload = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
        txid = self.send(payload)
        return Made(self.store(record, txid=txid), txid, owner, ts, metadata)


def _view(uid: str, metadata: Mapping[str, str], auth: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "AUTHENTICATION_RECORD",
        "product": {"uid_tag_id": uid},
        "metadata": dict(metadata),
        "auth": auth,
    }
