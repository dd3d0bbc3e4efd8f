"""Registering and transferring patches."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

from app.api.schemas.fields import (
    STRICT,
    HttpUrl,
    Notes,
    OwnerAddress,
    PublicKeyHex,
    ShortText,
    SignatureHex,
    Txid,
    UidTagId,
)

_OBJECT = ConfigDict(extra="forbid", strict=True)


@with_config(_OBJECT)
class Product(TypedDict):
    """The product that the patch is sewn into."""

    uid_tag_id: UidTagId
    name: NotRequired[ShortText]
    category: NotRequired[ShortText]
    sku: NotRequired[ShortText]
    serial_number: NotRequired[ShortText]
    material: NotRequired[ShortText]


@with_config(_OBJECT)
class Metadata(TypedDict, total=False):
    """What else is known; covered by `metadata_sha256` over its RFC 8785 form."""

    notes: Notes
    image: HttpUrl
    patch_location: ShortText


@with_config(_OBJECT)
class Ownership(TypedDict):
    """Who owns the patch."""

    owner: OwnerAddress


class RegistrationBody(BaseModel):
    model_config = STRICT

    product: Product
    metadata: Metadata = Field(default_factory=Metadata)
    auth: Ownership
    payment_address: Any = Field(
        None, alias="paymentAddress", deprecated=True, description="Accepted and ignored"
    )


class TransferPath(BaseModel):
    txid: Txid = Field(description="The head that the transfer continues")


class TransferBody(BaseModel):
    model_config = STRICT

    new_owner_address: OwnerAddress = Field(alias="newOwnerAddress")
    current_owner_signature: SignatureHex = Field(alias="currentOwnerSignature")
    current_owner_public_key: PublicKeyHex = Field(alias="currentOwnerPubKey")


class PendingPath(BaseModel):
    record_id: Annotated[str, StringConstraints(min_length=8, max_length=128)]


class Accepted(BaseModel):
    """The record is kept and will be anchored; `pendingId` asks how far it is."""

    message: str
    job_id: str | None = Field(alias="jobId")
    uid_tag_id: str
    pending_id: str = Field(alias="pendingId")


class Registered(BaseModel):
    message: str
    txid: str
    certificate_url: str = Field(alias="certificateUrl")


class Transferred(BaseModel):
    message: str
    new_txid: str = Field(alias="newTxid")


class PendingTransfer(BaseModel):
    """Where a record stands; `error` says why it failed, or what it waits for."""

    id: str
    uid_tag_id: str
    status: Literal["pending", "anchoring", "confirmed", "failed"]
    txid: str | None
    error: str | None
    created_at: str
    updated_at: str


class PendingRegistration(PendingTransfer):
    certificate_url: str | None = Field(alias="certificateUrl")
