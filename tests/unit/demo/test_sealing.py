"""Sealed content follows the contract's scheme."""

from __future__ import annotations

from base64 import b64decode

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from demo.sealing import derive_wrapping_key, seal

SECRET, UID = "vector-master-secret", "NFC_UID_001"


def open_sealed(sealed: dict[str, str], wrapping_key: bytes) -> str:
    fields = {name: b64decode(value, validate=True) for name, value in sealed.items()}
    content_key = AESGCM(wrapping_key).decrypt(fields["wrapIvB64"], fields["wrappedKeyB64"], None)
    content = AESGCM(content_key).decrypt(fields["cipherIvB64"], fields["ciphertextB64"], None)
    return content.decode()


def test_wrapping_key_is_that_of_the_contract() -> None:
    assert derive_wrapping_key(UID, SECRET).hex() == (
        "3390944b940af578bbdb8b002643342ded1548eb2faa3f931e23c20ce34eff2b"
    )


def test_the_contracts_own_example_opens() -> None:
    sealed = {
        "wrapIvB64": "AQIDBAUGBwgJCgsM",
        "wrappedKeyB64": "EhxCkbH6GoinqJ0rOw3WepxGMziSFDiDUiriI5/jDhYBK8vQ6QsU10FLKPN18pP+",
        "cipherIvB64": "DAsKCQgHBgUEAwIB",
        "ciphertextB64": "Va8eFz44EUrq1k9xNzwU7u8BGRWqeRunjD+k",
    }
    assert open_sealed(sealed, derive_wrapping_key(UID, SECRET)) == "hello patch"


def test_what_is_sealed_opens_for_its_patch_only() -> None:
    text = "Pflege: 30 °C, 手洗い"
    sealed = seal(text, uid_tag_id=UID, master_secret=SECRET)
    assert open_sealed(sealed, derive_wrapping_key(UID, SECRET)) == text
    with pytest.raises(InvalidTag):
        open_sealed(sealed, derive_wrapping_key("NFC_UID_002", SECRET))


def test_sealing_twice_shares_no_key_and_no_iv() -> None:
    first, second = (seal("same", uid_tag_id=UID, master_secret=SECRET) for _ in range(2))
    assert all(first[name] != second[name] for name in first)
