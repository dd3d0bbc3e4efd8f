"""Unlocking what only the owner may read."""

from __future__ import annotations

from base64 import b64decode

from pydantic import BaseModel, Field

from app.api.schemas.fields import (
    STRICT,
    Base64Text,
    Nonce,
    PublicKeyHex,
    SignatureHex,
    UidTagId,
    optional,
)
from app.errors import FieldError, InvalidInputError
from app.services.unlocking import SealedContent

_TAG_BYTES = 16
_KEY_BYTES = 32
_IV_BYTES = range(12, 129)


class UidPath(BaseModel):
    uid_tag_id: UidTagId


class UnlockBody(BaseModel):
    model_config = STRICT

    owner_public_key: PublicKeyHex = Field(alias="ownerPubKey")
    owner_signature: SignatureHex = Field(alias="ownerSignature")
    nonce: Nonce = optional(description="From unlock-challenge; the last member of the message")
    wrapped_key_b64: Base64Text = optional(alias="wrappedKeyB64")
    wrap_iv_b64: Base64Text = optional(alias="wrapIvB64")
    ciphertext_b64: Base64Text = optional(alias="ciphertextB64")
    cipher_iv_b64: Base64Text = optional(alias="cipherIvB64")

    def sealed_content(self) -> SealedContent | None:
        """The content to open, None when the request carries none.

        Raises:
            InvalidInputError: only some of the four fields are there, or one has a wrong size.
        """
        if not self.model_fields_set & _SEALED_FIELDS:
            return None
        if problems := self._sealed_problems():
            first = f"{problems[0]['field']} {problems[0]['message']}"
            raise InvalidInputError(first, details=problems)
        return SealedContent(
            wrapped_key=b64decode(self.wrapped_key_b64),
            wrap_iv=b64decode(self.wrap_iv_b64),
            ciphertext=b64decode(self.ciphertext_b64),
            cipher_iv=b64decode(self.cipher_iv_b64),
        )

    def _sealed_problems(self) -> list[FieldError]:
        problems: list[FieldError] = []
        for name, sizes in _SEALED_SIZES.items():
            field = UnlockBody.model_fields[name].alias or name
            if name not in self.model_fields_set:
                message = "is required when sealed content is sent"
            elif len(b64decode(getattr(self, name))) not in sizes:
                message = f"must hold {_describe(sizes)} bytes"
            else:
                continue
            problems.append({"field": field, "message": message})
        return problems


# AES-256-GCM: a key or a text is followed by its 16-byte tag.
_SEALED_SIZES = {
    "wrapped_key_b64": range(_KEY_BYTES + _TAG_BYTES, _KEY_BYTES + _TAG_BYTES + 1),
    "wrap_iv_b64": _IV_BYTES,
    "ciphertext_b64": range(_TAG_BYTES, 1024 * 1024),
    "cipher_iv_b64": _IV_BYTES,
}
_SEALED_FIELDS = frozenset(_SEALED_SIZES)


def _describe(sizes: range) -> str:
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"


class Challenge(BaseModel):
    """A nonce to sign, good for one unlocking until it expires."""

    nonce: str
    expires_at: str = Field(alias="expiresAt")


class UnlockedAnswer(BaseModel):
    """The caller owns the patch; `content` is there when sealed content was sent."""

    authorized: bool
    uid_tag_id: str
    txid: str
    content: str = optional()
