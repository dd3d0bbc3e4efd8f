"""What a record says in public: the view that verify answers, that is hashed and anchored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.domain.messages import registration_message, transfer_endorsement_message


class RecordKind(StrEnum):
    REGISTRATION = "REGISTRATION"
    TRANSFER = "TRANSFER"


class MovedBy(StrEnum):
    """On whose word a patch came to its owner.

    Without the owner before, a till moves what its shop holds: that is the issuer's word alone.
    """

    REGISTRATION = "registration"
    OWNER_SIGNATURE = "owner_signature"
    POINT_OF_SALE = "point_of_sale"
    POINT_OF_SALE_OWNER_SIGNATURE = "point_of_sale_owner_signature"


@dataclass(frozen=True)
class OwnerWord:
    """The owner's signature over a transfer.

    `signed_txid` is the head before as the owner wrote it, since upper-case hex signs other bytes.
    """

    signed_txid: str
    public_key_hex: str
    signature_der_hex: str


@dataclass(frozen=True)
class PosClaim:
    """A customer's claim that a till approved; the customer's address is the record's owner.

    `approved_by` is the digest of the approver's name (`claims.approver_digest`), `ts` is Unix
    milliseconds.
    """

    previous_owner: str
    approved_by: str
    public_key_hex: str
    signature_der_hex: str
    ts: int
    nonce: str


@dataclass(frozen=True)
class Custody:
    """The head that a transfer continues and why it may: an owner's word, a claim, or both."""

    prev_txid: str
    owner_word: OwnerWord | None
    claim: PosClaim | None = None


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

    @property
    def moved_by(self) -> MovedBy:
        """On whose word the owner got it, as far as the record says."""
        if self.custody is None:
            return MovedBy.REGISTRATION
        if self.custody.claim is None:
            return MovedBy.OWNER_SIGNATURE
        if self.custody.owner_word is None:
            return MovedBy.POINT_OF_SALE
        return MovedBy.POINT_OF_SALE_OWNER_SIGNATURE

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
            auth |= _custody_view(self.custody)
        return {
            "type": "AUTHENTICATION_RECORD",
            "product": self.product,
            "metadata": self.metadata,
            "auth": auth,
        }


def _custody_view(custody: Custody) -> dict[str, Any]:
    view: dict[str, Any] = {"prev_txid": custody.prev_txid}
    word, claim = custody.owner_word, custody.claim
    if word is not None:
        if word.signed_txid != custody.prev_txid:
            view["signed_txid"] = word.signed_txid
        view["current_owner_pubkey"] = word.public_key_hex
        view["current_owner_signature"] = word.signature_der_hex
    if claim is not None:
        view["pos_approved_by"] = claim.approved_by
        view["previous_owner"] = claim.previous_owner
        view["claim_pubkey"] = claim.public_key_hex
        view["claim_signature"] = claim.signature_der_hex
        view["claim_ts"] = claim.ts
        view["claim_nonce"] = claim.nonce
    return view
