"""Login by key."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from app.api.schemas.errors import ErrorBody
from app.api.schemas.fields import optional
from app.errors import FieldError, InvalidInputError
from app.services.login_keys import KeyProof

# The contract's clients send what they like beside what is asked for.
_LENIENT = ConfigDict(extra="ignore", strict=True, frozen=True)
_HEX = re.compile(r"[0-9a-fA-F]*")


def _hex_of(length: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if len(text) != length or not _HEX.fullmatch(text):
            raise ValueError(f"must be {length} hexadecimal characters")
        return text

    return check


def _check_signature(text: str) -> str:
    if len(text) < 10 or not _HEX.fullmatch(text):
        raise ValueError("must be at least 10 hexadecimal characters")
    return text


def _hex_schema(length: str, description: str) -> WithJsonSchema:
    pattern = f"^[0-9a-fA-F]{{{length}}}$"
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": description})


UserId = Annotated[str, AfterValidator(_hex_of(24)), _hex_schema("24", "In hexadecimal")]
ChallengeHex = Annotated[
    str, AfterValidator(_hex_of(48)), _hex_schema("48", "A challenge as begin gave it")
]
NonceHex = Annotated[
    str, AfterValidator(_hex_of(48)), _hex_schema("48", "From register-challenge, for one use")
]
MasterKeyHex = Annotated[
    str,
    AfterValidator(_hex_of(66)),
    _hex_schema("66", "Public master key: a compressed point of secp256k1"),
]
# What is no strict DER is a wrong signature, not a wrong request.
LoginSignatureHex = Annotated[
    str,
    AfterValidator(_check_signature),
    _hex_schema("10,", "Strict DER with low S; docs/login.md says what is signed"),
]


class UserBody(BaseModel):
    model_config = _LENIENT

    user_id: UserId = Field(alias="userId")


class CompleteBody(UserBody):
    challenge: ChallengeHex = Field(alias="M")
    signature: LoginSignatureHex = Field(alias="signatureHex")


class RegisterBody(UserBody):
    """The last two are needed where the service asks for a proof that the caller holds the key."""

    public_key: MasterKeyHex = Field(alias="pmcHex")
    nonce: NonceHex = optional()
    signature: LoginSignatureHex = optional(alias="signatureHex")

    def proof(self) -> KeyProof | None:
        """The signature over a nonce, None where neither was sent.

        Raises:
            InvalidInputError: only one of the two was sent.
        """
        sent = self.model_fields_set & {"nonce", "signature"}
        if not sent:
            return None
        if len(sent) == 1:
            missing = "signatureHex" if "nonce" in sent else "nonce"
            details: list[FieldError] = [
                {"field": missing, "message": "is required with the other"}
            ]
            raise InvalidInputError("nonce and signatureHex come together", details=details)
        return KeyProof(self.nonce, self.signature)


class RotateBody(UserBody):
    new_public_key: MasterKeyHex = Field(alias="newPmcHex")
    nonce: NonceHex
    signature: LoginSignatureHex = Field(alias="signatureHex", description="By the old key")
    new_signature: LoginSignatureHex = Field(alias="newSignatureHex", description="By the new key")


class KeyNonceAnswer(BaseModel):
    """What a signature that registers or replaces a key is bound to."""

    nonce: str
    expires_at: str = Field(alias="expiresAt")


class KeyChanged(BaseModel):
    """The user logs in with this key from now on."""

    success: Literal[True]
    message: str


class ChallengeAnswer(BaseModel):
    """A challenge to sign. `pmcHex` is null for everybody: a key is its owner's business."""

    challenge: str = Field(alias="M")
    public_key: str | None = Field(alias="pmcHex")


class TokenAnswer(BaseModel):
    """A bearer token, good for 15 minutes."""

    token: str


class KidAnswer(BaseModel):
    """The name of the signer's login key, as it stands in the header of new tokens."""

    kid: str


class CanaryAnswer(BaseModel):
    """A login of nobody went through; `metrics` counts what became of real ones."""

    ok: Literal[True]
    kid: str
    metrics: dict[str, int]
    timestamp: str


class CanaryFailure(ErrorBody):
    """A login of nobody failed, and so would others."""

    ok: Literal[False]
