"""Encryption of the keystore's content under a passphrase: scrypt and AES-256-GCM."""

import json
import secrets
import unicodedata
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from signer.errors import KeystoreError, PassphraseError

FORMAT = "patchproof-keystore"
VERSION = 1
SCRYPT_R = 8
SCRYPT_P = 1
DEFAULT_SCRYPT_N = 2**16
# Below the smallest a stolen file is guessed too fast; above the largest an edited header
# would only make the signer run out of memory (128 * n * r bytes).
ALLOWED_SCRYPT_N = frozenset(2**exponent for exponent in range(15, 21))
DAMAGED = "The keystore is damaged or truncated: restore it from a copy."


@dataclass(frozen=True)
class SealingKey:
    """A key derived from a passphrase, and the parameters to derive it again."""

    n: int
    salt: bytes
    _key: bytes

    @classmethod
    def derive(
        cls, passphrase: str, *, n: int = DEFAULT_SCRYPT_N, salt: bytes | None = None
    ) -> "SealingKey":
        """Derive a 32-byte key; without a salt a fresh random one is taken.

        The passphrase is normalised to NFC, so that it does not depend on the keyboard.
        """
        salt = secrets.token_bytes(32) if salt is None else salt
        kdf = Scrypt(salt=salt, length=32, n=n, r=SCRYPT_R, p=SCRYPT_P)
        return cls(n, salt, kdf.derive(unicodedata.normalize("NFC", passphrase).encode()))

    def seal(self, plaintext: bytes) -> bytes:
        """Encrypt with a fresh nonce and return the whole file."""
        nonce = secrets.token_bytes(12)
        sealed = SealedFile(self.n, self.salt, nonce, b"")
        ciphertext = AESGCM(self._key).encrypt(nonce, plaintext, sealed.associated_data())
        return SealedFile(self.n, self.salt, nonce, ciphertext).to_bytes()

    def open(self, sealed: "SealedFile") -> bytes:
        """Decrypt; a wrong key and an edited file look the same and raise PassphraseError."""
        try:
            return AESGCM(self._key).decrypt(
                sealed.nonce, sealed.ciphertext, sealed.associated_data()
            )
        except InvalidTag:
            raise PassphraseError(
                "The passphrase is wrong, or the keystore has been edited."
            ) from None

    def __repr__(self) -> str:
        return f"SealingKey(n={self.n})"


@dataclass(frozen=True)
class SealedFile:
    """The parsed keystore file, still encrypted."""

    n: int
    salt: bytes
    nonce: bytes
    ciphertext: bytes

    @classmethod
    def from_bytes(cls, raw: bytes) -> "SealedFile":
        """Parse a file strictly: it must be, byte for byte, what `to_bytes` writes.

        Raises KeystoreError for anything else, so that no edit goes unnoticed.
        """
        sealed = cls._parse(raw)
        if sealed.to_bytes() != raw or sealed.n not in ALLOWED_SCRYPT_N:
            raise KeystoreError(DAMAGED)
        return sealed

    @classmethod
    def _parse(cls, raw: bytes) -> "SealedFile":
        try:
            document = json.loads(raw)
            n, salt = int(document["kdf"]["n"]), bytes.fromhex(document["kdf"]["salt"])
            nonce = bytes.fromhex(document["cipher"]["nonce"])
            return cls(n, salt, nonce, bytes.fromhex(document["ciphertext"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise KeystoreError(DAMAGED) from None

    def header(self) -> dict[str, Any]:
        """Return everything but the ciphertext."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "kdf": {
                "name": "scrypt",
                "n": self.n,
                "r": SCRYPT_R,
                "p": SCRYPT_P,
                "salt": self.salt.hex(),
            },
            "cipher": {"name": "aes-256-gcm", "nonce": self.nonce.hex()},
        }

    def associated_data(self) -> bytes:
        """Return the header's bytes that the cipher authenticates: JSON, sorted, no spaces."""
        return json.dumps(self.header(), sort_keys=True, separators=(",", ":")).encode()

    def to_bytes(self) -> bytes:
        """Return the file: the header and the ciphertext in hex, as indented JSON."""
        document = self.header() | {"ciphertext": self.ciphertext.hex()}
        return (json.dumps(document, indent=2) + "\n").encode()
