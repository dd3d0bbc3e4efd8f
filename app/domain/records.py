"""What a record says in public: the view that verify answers, that is hashed and anchored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.domain.messages import registration_message, transfer_endorsement_message

# Random, so that what is hashed with it can't be guessed.
SALT_BYTES = 16


class RecordKind(StrEnum):
    REGISTRATION = "REGISTRATION"
    TRANSFER = "TRANSFER"


class Piece(StrEnum):
    """What of a record is about one person, and is erased as a whole for that person.

    The owner, and whatever else names or confirms the owner's address; a word of the owner before;
    their address where a claim repeats it; the claim of the new owner.
    """

    OWNER = "owner"
    OWNER_WORD = "owner_word"
    PREVIOUS_OWNER = "previous_owner"
    CLAIM = "claim"


class ErasedContentError(ValueError):
    """What is asked for names an address that was erased."""


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
    milliseconds. `previous_owner` is None where it was erased.
    """

    previous_owner: str | None
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
    """What is fixed when a record is accepted, before the issuer signs.

    Later on only what is in `erased` may go; it is None then, and can't be checked any more.
    """

    kind: RecordKind
    product: dict[str, Any]
    metadata: dict[str, Any]
    metadata_sha256: str
    owner: str | None
    ts: int
    custody: Custody | None = None
    erased: frozenset[Piece] = frozenset()

    @property
    def uid_tag_id(self) -> str:
        return str(self.product["uid_tag_id"])

    @property
    def moved_by(self) -> MovedBy:
        """On whose word the owner got it, as far as the record says."""
        if self.custody is None:
            return MovedBy.REGISTRATION
        if self.custody.claim is None and Piece.CLAIM not in self.erased:
            return MovedBy.OWNER_SIGNATURE
        if self.custody.owner_word is None and Piece.OWNER_WORD not in self.erased:
            return MovedBy.POINT_OF_SALE
        return MovedBy.POINT_OF_SALE_OWNER_SIGNATURE

    @property
    def is_endorsement_erased(self) -> bool:
        """Tells whether what the issuer signed is no longer there: it names a transfer's owner."""
        return self.custody is not None and self.owner is None and Piece.OWNER in self.erased

    def endorsement_message(self) -> bytes:
        """The bytes whose SHA-256 the issuer signs.

        Raises:
            ErasedContentError: they name an owner who was erased.
        """
        if self.custody is None:
            return registration_message(self.uid_tag_id, self.metadata_sha256, self.ts)
        if self.owner is None:
            raise ErasedContentError("the record's owner was erased")
        return transfer_endorsement_message(
            self.uid_tag_id, self.metadata_sha256, self.custody.prev_txid, self.owner, self.ts
        )

    def public_view(self, issuer_pubkey: str, issuer_signature: str) -> dict[str, Any]:
        """The record as readers see it and as its digest covers it.

        Where something was erased it lacks that and names it; no digest covers such a view.
        """
        auth: dict[str, Any] = {} if self.owner is None else {"owner": self.owner}
        auth |= {
            "issuer_signature": issuer_signature,
            "issuer_pubkey": issuer_pubkey,
            "ts": self.ts,
        }
        if self.custody is not None:
            auth |= _custody_view(self.custody)
        if self.erased:
            auth["erased"] = sorted(self.erased)
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
        if claim.previous_owner is not None:
            view["previous_owner"] = claim.previous_owner
        view["claim_pubkey"] = claim.public_key_hex
        view["claim_signature"] = claim.signature_der_hex
        view["claim_ts"] = claim.ts
        view["claim_nonce"] = claim.nonce
    return view


# The members of a public view's `auth` that go with each piece.
MEMBERS_OF_PIECE: Mapping[Piece, frozenset[str]] = {
    Piece.OWNER: frozenset({"owner"}),
    Piece.OWNER_WORD: frozenset({"signed_txid", "current_owner_pubkey", "current_owner_signature"}),
    Piece.PREVIOUS_OWNER: frozenset({"previous_owner"}),
    Piece.CLAIM: frozenset(
        {
            "pos_approved_by",
            "previous_owner",
            "claim_pubkey",
            "claim_signature",
            "claim_ts",
            "claim_nonce",
        }
    ),
}


def without(public_view: Mapping[str, Any], erased: Collection[Piece]) -> dict[str, Any]:
    """What is left of a whole public view once these pieces are erased, as it shows itself then."""
    gone = frozenset[str]().union(*(MEMBERS_OF_PIECE[piece] for piece in erased))
    auth = {name: value for name, value in public_view["auth"].items() if name not in gone}
    return {**public_view, "auth": {**auth, "erased": sorted(erased)}}
