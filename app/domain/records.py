"""What a record says in public: the view that verify answers, that is hashed and anchored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.domain.messages import registration_message, transfer_endorsement_message


class RecordKind(StrEnum):
    REGISTRATION = "REGISTRATION"
    TRANSFER = "TRANSFER"


@dataclass(frozen=True)
class Custody:
    """The line that a transfer continues and the owner's word for it.

    `signed_txid` is `prev_txid` as the owner wrote it, since upper-case hex signs other bytes.
    """

    prev_txid: str
    signed_txid: str
    current_owner_pubkey: str
    current_owner_signature: str


@dataclass(frozen=True)
class RecordContent:
    """What is fixed when a record is accepted, before the issuer signs."""

    kind: RecordKind
    product: dict[str, Any]
    metadata: dict[str, Any]
    metadata_sha256: str
    owner: str
    ts: int
    custody: Custody | None = None

    @property
    def uid_tag_id(self) -> str:
        return str(self.product["uid_tag_id"])

    def endorsement_message(self) -> bytes:
        """The bytes whose SHA-256 the issuer signs."""
        if self.custody is None:
            return registration_message(self.uid_tag_id, self.metadata_sha256, self.ts)
        return transfer_endorsement_message(
            self.uid_tag_id, self.metadata_sha256, self.custody.prev_txid, self.owner, self.ts
        )

    def public_view(self, issuer_pubkey: str, issuer_signature: str) -> dict[str, Any]:
        """The record as readers see it and as its digest covers it."""
        auth: dict[str, Any] = {
            "owner": self.owner,
            "issuer_signature": issuer_signature,
            "issuer_pubkey": issuer_pubkey,
            "ts": self.ts,
        }
        if self.custody is not None:
            auth["prev_txid"] = self.custody.prev_txid
            if self.custody.signed_txid != self.custody.prev_txid:
                auth["signed_txid"] = self.custody.signed_txid
            auth["current_owner_pubkey"] = self.custody.current_owner_pubkey
            auth["current_owner_signature"] = self.custody.current_owner_signature
        return {
            "type": "AUTHENTICATION_RECORD",
            "product": self.product,
            "metadata": self.metadata,
            "auth": auth,
        }
