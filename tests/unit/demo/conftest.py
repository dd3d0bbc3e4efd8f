"""A registration as verify answers it, with the transaction that carries it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import p2pkh_locking_script, p2pkh_unlocking_script
from app.bitcoin.sighash import sighashes
from app.bitcoin.transactions import Outpoint, Transaction, TxInput, TxOutput
from app.domain.canonical import canonical_json, sha256_hex
from app.domain.envelope import Envelope, Kind, commitment_payload, record_digest
from app.domain.messages import digest, registration_message
from demo.chain import OnChain
from patchproof_client import Verification, VerificationDetails

FUNDING = PrivateKey.from_hex("33" * 32)


@dataclass(frozen=True)
class Anchored:
    """What verify answers, what the chain holds, and who may have signed."""

    record: dict[str, Any]
    envelope: Envelope
    issuer_key: str

    def on_chain(self, *, envelopes: int = 1, block_height: int | None = 7) -> OnChain:
        outputs = (TxOutput(0, self.envelope.to_locking_script()),) * envelopes
        return OnChain(sign(outputs), block_height)

    def answer(self, on_chain: OnChain, **changes: Any) -> Verification:
        details = VerificationDetails(
            issuer_signature_valid=True,
            txid=on_chain.transaction.txid,
            block_height=on_chain.block_height,
            confirmations=1,
            findings=(),
        )
        return Verification(
            status="authentic",
            record=self.record,
            metadata_sha256=sha256_hex(canonical_json(self.record["metadata"])),
            details=replace(details, **changes),
        )


def sign(outputs: tuple[TxOutput, ...]) -> Transaction:
    """A transaction of one input, signed."""
    script = p2pkh_locking_script(FUNDING.public_key.hash160())
    source = TxInput(Outpoint("aa" * 32, 1), TxOutput(5000, script))
    change = TxOutput(4000, script)
    draft = Transaction((source,), (*outputs, change))
    [each] = sighashes(draft)
    unlocking = p2pkh_unlocking_script(FUNDING.sign(each), FUNDING.public_key.to_bytes())
    return draft.with_unlocking_scripts([unlocking])


def anchor(record: dict[str, Any], issuer: PrivateKey) -> Anchored:
    """Signs a record as its issuer and makes the envelope for it."""
    uid, ts = record["product"]["uid_tag_id"], record["auth"]["ts"]
    metadata_sha256 = sha256_hex(canonical_json(record["metadata"]))
    signature = issuer.sign(digest(registration_message(uid, metadata_sha256, ts))).hex()
    key = issuer.public_key.to_hex()
    auth = {**record["auth"], "issuer_signature": signature, "issuer_pubkey": key}
    signed = {**record, "auth": auth}
    payload = commitment_payload(record_digest(b"\x05" * 16, signed), key, signature, None)
    return Anchored(signed, Envelope(Kind.REGISTRATION, payload), key)


@pytest.fixture
def anchored() -> Anchored:
    record = {
        "type": "AUTHENTICATION_RECORD",
        "product": {"uid_tag_id": "041B5C2A8F6180", "name": "Ørsted Parka"},
        "metadata": {"notes": "Réédition"},
        "auth": {"owner": "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "ts": 1700000000000},
    }
    return anchor(record, PrivateKey.from_hex("11" * 32))


@pytest.fixture
def whole_record(anchored: Anchored) -> Anchored:
    """The same where the chain shows the record itself."""
    envelope = Envelope(Kind.REGISTRATION, canonical_json(anchored.record))
    return replace(anchored, envelope=envelope)
