"""The raw limits: the same servers, asked with nothing in between."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from itertools import count
from typing import Any

import requests
from bson import ObjectId
from pymongo import InsertOne, UpdateOne
from pymongo.collection import Collection

from app.bitcoin.addresses import Network, parse_address
from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import data_locking_script, p2pkh_unlocking_script
from app.bitcoin.sighash import sighashes
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from tests.integration.services.lab import Lab

COIN_SATOSHIS = 10_000
FEE_SATOSHIS = 200
# As long as what a registration commits to.
_DATA = [b"PatchProof", b"1", b"reg", bytes(170)]
_numbers = count()

Documents = Collection[dict[str, Any]]


def copy_of(document: dict[str, Any], unique: Sequence[str]) -> dict[str, Any]:
    """Another document like this one, with an `_id` and unique fields of its own."""
    twin = copy.deepcopy(document)
    twin["_id"] = ObjectId()
    for name in unique:
        twin[name] = f"raw-{next(_numbers):08}"
    return twin


def with_same_indexes(lab: Lab, name: str, source: str) -> Documents:
    """An empty collection with the indexes of another."""
    collection: Documents = lab.collection(name)
    for index in lab.collection(source).index_information().values():
        if index["key"] != [("_id", 1)]:
            options = {key: index[key] for key in ("unique", "sparse") if key in index}
            collection.create_index(index["key"], **options)
    return collection


def bulk_writes(collection: Documents, size: int, times: int) -> int:
    """One bulk insert of so many small documents, then updates of all by `_id`, `times` in all."""
    ids = [ObjectId() for _ in range(size)]
    collection.bulk_write([InsertOne({"_id": each, "n": 0}) for each in ids], ordered=False)
    for number in range(1, times):
        collection.bulk_write(
            [UpdateOne({"_id": each}, {"$set": {"n": number}}) for each in ids], ordered=False
        )
    return size


class BareSigner:
    """The signer by plain HTTP; nothing of its answer is checked."""

    def __init__(self, lab: Lab) -> None:
        self._url = f"{lab.env['KMS_SIGN_URL']}/sign"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {lab.env['KMS_API_KEY']}"

    def sign(self, key_identifier: str, size: int) -> int:
        """Has so many random digests signed in one call."""
        wanted = [
            {"keyIdentifier": key_identifier, "sighash": os.urandom(32).hex()} for _ in range(size)
        ]
        answer = self._session.post(self._url, json={"requests": wanted}, timeout=30)
        assert len(answer.json()["signatures"]) == size
        return size

    def close(self) -> None:
        self._session.close()


class BareChain:
    """The chain by plain HTTP, with transactions that were signed beforehand by a key of ours."""

    def __init__(self, lab: Lab, transactions: int) -> None:
        self._woc_url = f"{lab.env['WOC_BASE_URL']}/tx/raw"
        self._arc_url = f"{lab.env['ARC_URL']}/v1"
        self._session = requests.Session()
        self._ready = _sign_all(lab, transactions)

    def send_each(self, number: int) -> int:
        """Sends so many by WhatsOnChain's wire, one in a call."""
        for transaction in self._take(number):
            answer = self._session.post(
                self._woc_url, json={"txhex": transaction.to_hex()}, timeout=30
            )
            assert answer.status_code == 200, answer.text
        return number

    def send_batch(self, number: int) -> int:
        """Sends so many by ARC's wire in one call."""
        bodies = [{"rawTx": each.to_extended_hex()} for each in self._take(number)]
        path, body = ("/tx", bodies[0]) if number == 1 else ("/txs", bodies)
        headers = {"X-WaitFor": "SEEN_ON_NETWORK"}
        answer = self._session.post(
            f"{self._arc_url}{path}", json=body, headers=headers, timeout=30
        )
        assert answer.status_code == 200, answer.text
        return number

    def close(self) -> None:
        self._session.close()

    def _take(self, number: int) -> list[Transaction]:
        taken, self._ready = self._ready[:number], self._ready[number:]
        assert len(taken) == number, "too few transactions were signed beforehand"
        return taken


def _sign_all(lab: Lab, number: int) -> list[Transaction]:
    key = PrivateKey.generate()
    address = key.public_key.address(Network.REGTEST)
    script = parse_address(address, Network.REGTEST).locking_script()
    body = {"address": address, "satoshis": COIN_SATOSHIS, "outputs": number}
    paid = lab.control("fund", body)
    lab.mine()
    return [_sign(key, script, Outpoint(paid["txid"], vout)) for vout in paid["vouts"]]


def _sign(key: PrivateKey, script: bytes, outpoint: Outpoint) -> Transaction:
    outputs = (
        TxOutput(0, data_locking_script(_DATA)),
        TxOutput(COIN_SATOSHIS - FEE_SATOSHIS, script),
    )
    unsigned = Transaction((TxInput(outpoint, TxOutput(COIN_SATOSHIS, script)),), outputs)
    (digest,) = sighashes(unsigned)
    unlocking = p2pkh_unlocking_script(key.sign(digest), key.public_key.to_bytes())
    return unsigned.with_unlocking_scripts([unlocking])
