"""The keys in memory: names, purposes, and what each purpose allows."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.keys import PrivateKey
from signer.errors import KeyRefusedError

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")


class Purpose(StrEnum):
    """What a key may be used for."""

    ISSUER = "issuer"
    FUNDING = "funding"
    SVD = "svd"


@dataclass(frozen=True)
class SignerKey:
    """A private key with its name and its purposes; its text form shows no secret."""

    identifier: str
    purposes: frozenset[Purpose]
    private_key: PrivateKey

    def __post_init__(self) -> None:
        if IDENTIFIER.fullmatch(self.identifier) is None:
            raise KeyRefusedError(
                "A key's name has 1 to 128 letters, digits, dots, dashes, underscores, "
                "colons or slashes, and begins with a letter or digit."
            )
        if not self.purposes:
            raise KeyRefusedError("A key needs at least one purpose.")
        if Purpose.SVD in self.purposes and len(self.purposes) > 1:
            raise KeyRefusedError("A key with the purpose svd cannot have another one.")

    @property
    def may_sign(self) -> bool:
        """Say whether the key signs digests; a login master key never does."""
        return Purpose.SVD not in self.purposes

    @property
    def purpose_names(self) -> list[str]:
        """Return the purposes as sorted words."""
        return sorted(purpose.value for purpose in self.purposes)

    @property
    def kid(self) -> str:
        """Return the public name of a login master key (http-api, section 3)."""
        public_key_hex = self.private_key.public_key.to_hex()
        return "svd-" + hashlib.sha256(public_key_hex.encode()).hexdigest()[:16]

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "SignerKey":
        """Read a key of the decrypted keystore."""
        purposes = frozenset(Purpose(name) for name in entry["purposes"])
        return cls(entry["keyIdentifier"], purposes, PrivateKey.from_hex(entry["privateKeyHex"]))

    def to_json(self) -> dict[str, Any]:
        """Return the key with its secret, for the keystore alone."""
        return {
            "keyIdentifier": self.identifier,
            "purposes": self.purpose_names,
            "privateKeyHex": self.private_key.to_bytes().hex(),
        }


class KeyRing:
    """An ordered, immutable set of keys with unique names and unique secrets."""

    def __init__(self, keys: Iterable[SignerKey] = ()) -> None:
        self._keys: dict[str, SignerKey] = {}
        owners: dict[bytes, str] = {}
        for key in keys:
            if key.identifier in self._keys:
                raise KeyRefusedError(f"The keystore already has a key named {key.identifier}.")
            secret = key.private_key.to_bytes()
            if secret in owners:
                raise KeyRefusedError(
                    f"This private key is already in the keystore, named {owners[secret]}."
                )
            owners[secret] = key.identifier
            self._keys[key.identifier] = key

    def __iter__(self) -> Iterator[SignerKey]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    def with_key(self, key: SignerKey) -> "KeyRing":
        """Return a new ring with one key more; KeyRefusedError when it clashes with another."""
        return KeyRing([*self._keys.values(), key])

    def find(self, identifier: str) -> SignerKey | None:
        """Return the key of that name, if there is one."""
        return self._keys.get(identifier)

    def find_login_key(self) -> SignerKey | None:
        """Return the newest key for logins: adding one is how the master key is rotated."""
        keys = [key for key in self._keys.values() if not key.may_sign]
        return keys[-1] if keys else None


def read_private_key(text: str) -> PrivateKey:
    """Read 64 hex characters or a WIF; KeyRefusedError never repeats what was read."""
    text = text.strip()
    is_hex = re.fullmatch(r"[0-9a-fA-F]{64}", text) is not None
    try:
        return PrivateKey.from_hex(text) if is_hex else PrivateKey.from_wif(text)
    except BitcoinFormatError:
        raise KeyRefusedError(
            "The imported text is neither a private key of 64 hexadecimal characters nor a WIF."
        ) from None
