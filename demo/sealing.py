"""Seals content for the owner of a patch, as the brand's backend does."""

from __future__ import annotations

import os
from base64 import b64encode

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES = 32
_IV_BYTES = 12


def seal(content: str, *, uid_tag_id: str, master_secret: str) -> dict[str, str]:
    """Encrypts text under a key of its own and that key under the patch's; four base64 fields."""
    content_key = os.urandom(_KEY_BYTES)
    wrap_iv, cipher_iv = os.urandom(_IV_BYTES), os.urandom(_IV_BYTES)
    wrapping_key = derive_wrapping_key(uid_tag_id, master_secret)
    fields = {
        "wrappedKeyB64": AESGCM(wrapping_key).encrypt(wrap_iv, content_key, None),
        "wrapIvB64": wrap_iv,
        "ciphertextB64": AESGCM(content_key).encrypt(cipher_iv, content.encode(), None),
        "cipherIvB64": cipher_iv,
    }
    return {name: b64encode(value).decode() for name, value in fields.items()}


def derive_wrapping_key(uid_tag_id: str, master_secret: str) -> bytes:
    """The key under which content keys of one patch are wrapped (HKDF, RFC 5869)."""
    return HKDF(
        algorithm=SHA256(),
        length=_KEY_BYTES,
        salt=uid_tag_id.encode(),
        info=b"patchproof-unlock-key",
    ).derive(master_secret.encode())
