"""What is held about somebody, and what became of their wish to have it erased."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypedDict

from app.api.schemas.fields import STRICT, PublicKeyHex, SignatureHex, optional
from app.api.schemas.verification import ErasedPart, MovedBy

Source = Annotated[str, Field(description="The collection that it is kept in")]


class ExportQuery(BaseModel):
    """Which page: what the page before has answered in `nextCursor`."""

    cursor: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{24}|-)\.([0-9a-f]{24}|-)$")] = (
        optional()
    )
    limit: Annotated[int, Field(ge=1, le=200)] = 200


class ProvenKeyView(BaseModel):
    """A key that is shown to be the subject's: patches of its address are theirs."""

    public_key: str = Field(alias="publicKey")
    address: str
    proven_by: Literal["login", "rotation", "signature"] = Field(alias="provenBy")


class ReplacedKeyView(BaseModel):
    public_key: str = Field(alias="publicKey")
    registered_at: str | None = Field(alias="registeredAt")
    revoked_at: str | None = Field(alias="revokedAt")
    replaced_at: str = Field(alias="replacedAt")
    replaced_by: Literal["user", "operator"] = Field(alias="replacedBy")


class LoginKeyView(BaseModel):
    source: Source
    user_id: str = Field(alias="userId")
    public_key: str = Field(alias="publicKey")
    registered_at: str | None = Field(alias="registeredAt")
    is_proven: bool = Field(alias="isProven", description="Whether it signed when it came here")
    history: list[ReplacedKeyView]


class KeyProofView(BaseModel):
    source: Source
    public_key: str = Field(alias="publicKey")
    subject: str = Field(description="As it was signed")
    signature: str
    proven_at: str = Field(alias="provenAt")


class CodeRequestView(BaseModel):
    """The last code that was asked for; it is kept hashed, and the hash is not given away."""

    source: Source
    identifier: str
    status: str
    requested_at: str = Field(alias="requestedAt")
    expires_at: str = Field(alias="expiresAt")
    attempts: int


class ClaimView(BaseModel):
    """A claim at a till that one of the subject's keys has signed."""

    source: Source
    id: str
    uid_tag_id: str
    address: str
    user_id: str | None = Field(alias="userId")
    public_key: str = Field(alias="publicKey")
    nonce: str
    ts: int
    signature: str
    status: str
    created_at: str = Field(alias="createdAt")
    record_id: str | None = Field(alias="recordId")


class PlaceView(TypedDict):
    """Where a record stands in its batch: siblings from the leaf sha256(0x00 || digest) up."""

    leafIndex: int
    leafCount: int
    merklePath: list[str]


class ChainView(BaseModel):
    """The transaction that carries a record, and its proof as soon as it is mined."""

    form: Literal["salted_digest", "batch_root", "in_clear"] = Field(
        description="What the chain shows of the record: nothing personal, a hash over many "
        "records, or all of it"
    )
    txid: str
    raw_tx: str = Field(alias="rawTx")
    block_hash: str | None = Field(alias="blockHash")
    block_height: int | None = Field(alias="blockHeight")
    block_header: str | None = Field(alias="blockHeader")
    merkle_path: str | None = Field(alias="merklePath", description="BUMP (BRC-74)")
    batch: PlaceView | None = Field(description="Null where the record has its own transaction")


class RecordView(BaseModel):
    """A record whose owner the subject is or was, with all that proves it alone.

    `digest` is sha256(salt || canonical JSON of `record`), in hex.
    """

    source: Source
    id: str
    uid_tag_id: str
    kind: str
    status: str
    created_at: str = Field(alias="createdAt")
    confirmed_at: str | None = Field(alias="confirmedAt")
    head: str | None
    is_present_owner: bool = Field(alias="isPresentOwner")
    moved_by: MovedBy = Field(alias="movedBy")
    owner: str
    record: dict[str, Any] | None = Field(description="Null until the issuer has signed it")
    digest: str | None
    salt: str | None = Field(description="Hexadecimal; null where parts were erased")
    erased: list[ErasedPart]
    on_chain: ChainView | None = Field(alias="onChain")


class HandoverView(BaseModel):
    """A transfer that the subject has signed, without whom it went to."""

    source: Source
    id: str
    uid_tag_id: str
    status: str
    created_at: str = Field(alias="createdAt")
    head: str | None
    prev_txid: str = Field(alias="prevTxid")
    public_key: str = Field(alias="publicKey")
    signature: str
    on_chain: ChainView | None = Field(alias="onChain")


class ElsewhereView(BaseModel):
    """What is held in other places than the database, and for how long."""

    where: str
    what: str
    kept: str


class ExportAnswer(BaseModel):
    """One page. `nextCursor` asks for the next; it is null on the last."""

    success: Literal[True]
    subject: str
    exported_at: str = Field(alias="exportedAt")
    keys: list[ProvenKeyView]
    login_key: LoginKeyView | None = Field(alias="loginKey")
    key_proofs: list[KeyProofView] = Field(alias="keyProofs")
    code_requests: list[CodeRequestView] = Field(alias="codeRequests")
    claims: list[ClaimView]
    claims_naming_subject: int = Field(
        alias="claimsNamingSubject",
        description="Claims in which somebody wrote this user id, whoever that was. Those that a "
        "key of the subject has signed are listed",
    )
    records: list[RecordView]
    handovers: list[HandoverView]
    elsewhere: list[ElsewhereView]
    next_cursor: str | None = Field(alias="nextCursor")


class ErasedView(BaseModel):
    what: str
    source: Source
    count: int


class RemainingView(BaseModel):
    """What is still there; `names` are the first hundred of the patches or claims that it is."""

    what: str
    source: Source
    count: int
    reason: str
    is_erased_later: bool = Field(
        alias="isErasedLater", description="Whether it is erased without being asked for again"
    )
    names: list[str]


class ErasureAnswer(BaseModel):
    """How an erasure stands: `waiting` until everything that can go is gone."""

    success: Literal[True]
    subject: str
    status: Literal["done", "waiting"]
    requested_at: str = Field(alias="requestedAt")
    finished_at: str | None = Field(alias="finishedAt")
    erased: list[ErasedView]
    remains: list[RemainingView]


class KeyProofBody(BaseModel):
    model_config = STRICT

    pub_key: PublicKeyHex = Field(alias="pubKey")
    signature: SignatureHex = Field(
        description="Strict DER with low S, hexadecimal, over one SHA-256 of "
        '{"purpose":"prove_privacy_key","subject":"<sub of the token>","pubKey":"<66 hex>"}'
    )


class KeyProofAnswer(BaseModel):
    """The key is the subject's from now on."""

    success: Literal[True]
    public_key: str = Field(alias="publicKey")
    address: str
    proven_at: str = Field(alias="provenAt")
