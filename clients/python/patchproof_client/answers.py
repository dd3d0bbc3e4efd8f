"""What calls answer: plain values that don't change. Members that a newer service adds are left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from patchproof_client.reading import Members, Reply

Kind = Literal["registration", "transfer"]
RecordState = Literal["pending", "anchoring", "confirmed", "failed"]
ClaimState = Literal["pending", "approved", "confirmed", "failed", "expired"]

_RECORD_STATES: tuple[RecordState, ...] = ("pending", "anchoring", "confirmed", "failed")
_CLAIM_STATES: tuple[ClaimState, ...] = ("pending", "approved", "confirmed", "failed", "expired")


@dataclass(frozen=True)
class Submitted:
    """A record that the service has accepted, for `wait_until_confirmed`.

    A service with a queue gives `pending_id`, one without gives `txid` at once. `is_replayed` where
    an earlier request with the same idempotency key has made it.
    """

    kind: Kind
    uid_tag_id: str
    pending_id: str | None = None
    txid: str | None = None
    certificate_url: str | None = None
    is_replayed: bool = False

    @classmethod
    def read(cls, kind: Kind, uid_tag_id: str, reply: Reply) -> Submitted:
        members = reply.members
        if reply.status == 202:
            pending_id = members.text("pendingId")
            return cls(kind, uid_tag_id, pending_id, is_replayed=reply.is_replayed)
        return cls(
            kind,
            uid_tag_id,
            txid=members.text("txid" if kind == "registration" else "newTxid"),
            certificate_url=members.optional_text("certificateUrl"),
            is_replayed=reply.is_replayed,
        )


@dataclass(frozen=True)
class Pending:
    """How far a record is; `error` says why it waits or has failed."""

    id: str
    uid_tag_id: str
    status: RecordState
    txid: str | None
    error: str | None
    certificate_url: str | None

    @classmethod
    def read(cls, members: Members) -> Pending:
        return cls(
            id=members.text("id"),
            uid_tag_id=members.text("uid_tag_id"),
            status=members.choice("status", _RECORD_STATES),
            txid=members.optional_text("txid"),
            error=members.optional_text("error"),
            certificate_url=members.optional_text("certificateUrl"),
        )


@dataclass(frozen=True)
class VerificationDetails:
    """What verify has checked. `txid` is on the chain; `block_height` is None until it is mined."""

    issuer_signature_valid: bool
    txid: str
    block_height: int | None
    confirmations: int | None
    findings: tuple[str, ...]

    @classmethod
    def read(cls, members: Members) -> VerificationDetails:
        return cls(
            issuer_signature_valid=members.boolean("issuerSignatureValid"),
            txid=members.text("onChainTxid"),
            block_height=members.optional_integer("blockHeight"),
            confirmations=members.optional_integer("confirmations"),
            findings=members.texts("findings"),
        )


@dataclass(frozen=True)
class Verification:
    """Whether a patch is authentic, and its current record as it was signed.

    `details.findings` say in words what is wrong with a compromised one.
    """

    status: Literal["authentic", "compromised"]
    record: Mapping[str, Any]
    metadata_sha256: str
    details: VerificationDetails

    @property
    def is_authentic(self) -> bool:
        return self.status == "authentic"

    @classmethod
    def read(cls, members: Members) -> Verification:
        return cls(
            status=members.choice("status", ("authentic", "compromised")),
            record=members.object("record").values,
            metadata_sha256=members.text("metadata_sha256"),
            details=VerificationDetails.read(members.object("verificationDetails")),
        )


@dataclass(frozen=True)
class CustodyEvent:
    """One step of a patch's life: `txid` names it, `anchor_txid` carries it on the chain.

    `owner` is None where they had it erased.
    """

    kind: Literal["REGISTRATION", "TRANSFER"]
    txid: str
    anchor_txid: str
    prev_txid: str | None
    owner: str | None
    occurred_at: str
    block_height: int | None
    confirmations: int | None

    @classmethod
    def read(cls, members: Members) -> CustodyEvent:
        return cls(
            kind=members.choice("kind", ("REGISTRATION", "TRANSFER")),
            txid=members.text("txid"),
            anchor_txid=members.text("anchor_txid"),
            prev_txid=members.optional_text("prev_txid"),
            owner=members.optional_text("owner"),
            occurred_at=members.text("occurred_at"),
            block_height=members.optional_integer("block_height"),
            confirmations=members.optional_integer("confirmations"),
        )


@dataclass(frozen=True)
class Unlocked:
    """The owner proved to be one; `content` where something sealed was sent along."""

    uid_tag_id: str
    txid: str
    content: str | None

    @classmethod
    def read(cls, members: Members) -> Unlocked:
        if not members.boolean("authorized"):
            raise members.reply.unexpected("a success that authorises nobody")
        return cls(
            members.text("uid_tag_id"), members.text("txid"), members.optional_text("content")
        )


@dataclass(frozen=True)
class ApprovedClaim:
    """A claim that the till has approved; its transfer will be anchored."""

    id: str
    pending_id: str

    @classmethod
    def read(cls, members: Members) -> ApprovedClaim:
        return cls(members.text("id"), members.text("pendingId"))


@dataclass(frozen=True)
class ClaimStanding:
    """How far a claim is: `txid` once it is confirmed, `error` where it failed."""

    id: str
    status: ClaimState
    txid: str | None
    error: str | None
    approved_by: str | None

    @classmethod
    def read(cls, members: Members) -> ClaimStanding:
        return cls(
            id=members.text("id"),
            status=members.choice("status", _CLAIM_STATES),
            txid=members.optional_text("txid"),
            error=members.optional_text("error"),
            approved_by=members.optional_text("approvedBy"),
        )
