"""Claims at the point of sale."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from app.api.schemas.fields import (
    STRICT,
    ClaimNonce,
    OwnerAddress,
    PersonName,
    PublicKeyHex,
    ShortText,
    SignatureHex,
    UidTagId,
    optional,
)
from app.errors import InvalidInputError

_OBJECT = ConfigDict(extra="forbid", strict=True)
# The largest integer that every reader of JSON holds exactly.
_MAX_TS = 2**53 - 1


@with_config(_OBJECT)
class PosCustomer(TypedDict):
    """Who claims the patch: an address, the key that it belongs to, and the customer's id."""

    address: OwnerAddress
    userId: Annotated[PersonName, AfterValidator(str.lower)]
    pubKey: PublicKeyHex


@with_config(_OBJECT)
class PosChallenge(TypedDict):
    """What makes the claim one of its own: Unix milliseconds, and a nonce never used before."""

    ts: Annotated[int, Field(ge=0, le=_MAX_TS)]
    nonce: ClaimNonce


class ClaimIntentBody(BaseModel):
    model_config = STRICT

    uid: UidTagId
    customer: PosCustomer
    challenge: PosChallenge
    signature: SignatureHex = Field(
        description="Strict DER with low S, hexadecimal, over one SHA-256 of "
        "PATCHPROOF_CLAIM|uid:<uid>|addr:<address>|ts:<ts>|nonce:<nonce>"
    )


class ClaimIntentAnswer(BaseModel):
    """The claim is kept, and waits for the till."""

    id: str
    status: Literal["pending"]


class ClaimApproveBody(BaseModel):
    model_config = STRICT

    intent_id: ShortText = Field(alias="intentId")
    approved_by: PersonName = Field(alias="approvedBy", description="Who approves, a person")
    current_owner_signature: SignatureHex = optional(
        alias="currentOwnerSignature",
        description="The owner's transfer message, signed for the customer's address; needed "
        "unless the patch belongs to the shop",
    )
    current_owner_public_key: PublicKeyHex = optional(alias="currentOwnerPubKey")

    def require_whole_owner_word(self) -> None:
        """Checks that key and signature of the owner come together.

        Raises:
            InvalidInputError: only one of them is there.
        """
        given = self.model_fields_set & _OWNER_WORD
        for name in sorted(_OWNER_WORD - given) if given else ():
            field = ClaimApproveBody.model_fields[name].alias or name
            raise InvalidInputError.for_field(field, "is required where the owner signs")


_OWNER_WORD = frozenset({"current_owner_signature", "current_owner_public_key"})


class ClaimApproved(BaseModel):
    """The transfer is kept and will be anchored; `pendingId` asks how far it is."""

    id: str
    status: Literal["approved"]
    pending_id: str = Field(alias="pendingId")
    job_id: str | None = Field(alias="jobId")


class ClaimPath(BaseModel):
    claim_id: str


class ClaimStatusAnswer(BaseModel):
    """How far a claim is: `txid` once it is confirmed, `error` where it failed."""

    id: str
    status: Literal["pending", "approved", "confirmed", "failed", "expired"]
    txid: str | None
    error: str | None
    approved_by: str | None = Field(alias="approvedBy")
