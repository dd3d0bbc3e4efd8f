"""Tells which records a transaction on the chain carries, from its bytes and theirs alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.transactions import Transaction
from app.domain.canonical import canonical_json
from app.domain.envelope import Envelope, InvalidEnvelopeError, Kind, record_digest
from app.domain.records import RecordContent


@dataclass(frozen=True)
class Carried:
    """What one envelope says. Of a batch only the kind; `digest` is None where the record itself is
    on the chain. `prev_txid` is the head that a transfer continues."""

    kind: Kind
    payload: bytes
    digest: str | None = None
    issuer_pubkey: str = ""
    issuer_signature: str = ""
    prev_txid: str | None = None

    def find_digest(self, content: RecordContent, salt: bytes) -> str | None:
        """Answers the record's digest where it is this record that is carried, else None."""
        previous = content.custody.prev_txid if content.custody else None
        if content.kind.value != self.kind.value or previous != self.prev_txid:
            return None
        view = content.public_view(self.issuer_pubkey, self.issuer_signature)
        digest = record_digest(salt, view)
        is_it = (
            canonical_json(view) == self.payload if self.digest is None else digest == self.digest
        )
        return digest if is_it else None


def list_carried(transaction: Transaction) -> Iterator[Carried]:
    """Yields what the envelopes of a transaction say; one that can't be read says nothing."""
    for output in transaction.outputs:
        try:
            envelope = Envelope.from_locking_script(output.locking_script)
            yield _read(envelope)
        except (BitcoinFormatError, InvalidEnvelopeError, ValueError, KeyError, TypeError):
            continue


def _read(envelope: Envelope) -> Carried:
    if envelope.kind is Kind.BATCH:
        return Carried(envelope.kind, envelope.payload)
    body = json.loads(envelope.payload)
    said = body.get("auth", body)
    return Carried(
        kind=envelope.kind,
        payload=envelope.payload,
        digest=body.get("digest"),
        issuer_pubkey=str(said["issuer_pubkey"]),
        issuer_signature=str(said["issuer_signature"]),
        prev_txid=said.get("prev_txid"),
    )
