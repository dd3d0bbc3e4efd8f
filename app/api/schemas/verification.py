"""Telling whether a patch is authentic and where it has been."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.api.schemas.errors import ErrorBody

MovedBy = Literal[
    "registration", "owner_signature", "point_of_sale", "point_of_sale_owner_signature"
]
ErasedPart = Literal["owner", "owner_word", "previous_owner", "claim"]


class ErasedParts(BaseModel):
    """What of a record its people had erased: it could not be checked, all else of it was."""

    txid: str
    parts: list[ErasedPart]
    erased_at: str | None = Field(alias="erasedAt")


class BatchProof(BaseModel):
    """How a record in a batch is proven: by its digest, which `onChainTxid` is then.

    The leaf is sha256(0x00 || digest), a node sha256(0x01 || left || right); `merklePath` are the
    siblings from the leaf up. Root and count are those in the outputs of `anchorTxid`.
    """

    merkle_root: str | None = Field(alias="merkleRoot", description="Null where the path is broken")
    merkle_path: list[str] = Field(alias="merklePath")
    leaf_index: int = Field(alias="leafIndex")
    leaf_count: int = Field(alias="leafCount")


class VerificationDetails(BaseModel):
    """What was checked: `findings` says in words what is wrong with a compromised patch."""

    issuer_signature_valid: bool = Field(alias="issuerSignatureValid")
    moved_by: MovedBy = Field(
        alias="movedBy",
        description="On whose word the owner got it; point_of_sale alone is the issuer's word",
    )
    on_chain_txid: str = Field(
        alias="onChainTxid",
        description="What paths and signed messages call the patch's current txid: the name of "
        "its current record",
    )
    anchor_txid: str = Field(
        alias="anchorTxid",
        description="The transaction that carries the record: another only where that is a batch",
    )
    batch: BatchProof | None = Field(
        description="The record's place in its batch; null where it has its own transaction"
    )
    metadata_sha256: str
    block_height: int | None = Field(alias="blockHeight")
    confirmations: int | None
    findings: list[str]
    erased: list[ErasedParts] = Field(
        description="Records of the line of which parts were erased: digest, signatures and "
        "addresses that these parts prove are held against the chain only"
    )


class VerificationAnswer(BaseModel):
    status: Literal["authentic", "compromised"]
    record: dict[str, Any]
    metadata_sha256: str
    verification_details: VerificationDetails = Field(alias="verificationDetails")


class VerificationNotFound(ErrorBody):
    status: Literal["not_found"]


class VerificationFailed(ErrorBody):
    status: Literal["error"]


class CustodyEvent(BaseModel):
    """One step of a patch's life: `txid` names it, `anchor_txid` carries it on the chain.

    `owner` is null where they had it erased.
    """

    kind: str
    txid: str
    anchor_txid: str
    owner: str | None
    moved_by: MovedBy
    erased: list[ErasedPart]
    prev_txid: str | None
    occurred_at: str
    block_height: int | None
    confirmations: int | None


class CustodyHistory(BaseModel):
    """The line of custody, oldest first."""

    uid_tag_id: str
    events: list[CustodyEvent]
