"""Keys of secp256k1: compressed only, scalars from 1 to n - 1 only."""

import re
from dataclasses import dataclass, field
from typing import Any

import bitcoinx

from app.bitcoin import base58
from app.bitcoin.addresses import Network, address_from_hash160
from app.bitcoin.curve import N, is_scalar
from app.bitcoin.errors import (
    InvalidPrivateKeyError,
    InvalidPublicKeyError,
    InvalidSignatureError,
)
from app.bitcoin.hashes import hash160
from app.bitcoin.signatures import check_signature_der

__all__ = ["N", "PrivateKey", "PublicKey"]

_PUBLIC_HEX = re.compile(r"0[23][0-9a-fA-F]{64}")
_PRIVATE_HEX = re.compile(r"[0-9a-fA-F]{64}")
_WIF_VERSION = {Network.MAIN: 0x80, Network.TEST: 0xEF, Network.REGTEST: 0xEF}
_COMPRESSED_MARK = 0x01


@dataclass(frozen=True)
class PublicKey:
    """A point of the curve in its compressed SEC encoding, 33 bytes."""

    encoded: bytes
    _point: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.encoded) != 33 or self.encoded[0] not in (2, 3):
            raise InvalidPublicKeyError("The public key is not in compressed form.")
        try:
            point = bitcoinx.PublicKey.from_bytes(self.encoded)
        except ValueError:
            raise InvalidPublicKeyError("The public key is not on the curve.") from None
        object.__setattr__(self, "_point", point)

    @classmethod
    def from_bytes(cls, raw: bytes) -> "PublicKey":
        """Read 33 bytes of compressed SEC."""
        return cls(bytes(raw))

    @classmethod
    def from_hex(cls, text: str) -> "PublicKey":
        """Read 66 hex characters of compressed SEC, either case."""
        if not isinstance(text, str) or _PUBLIC_HEX.fullmatch(text) is None:
            raise InvalidPublicKeyError(
                "The public key is not 66 hex characters that begin with 02 or 03."
            )
        return cls(bytes.fromhex(text))

    def to_bytes(self) -> bytes:
        """Return 33 bytes of compressed SEC."""
        return self.encoded

    def to_hex(self) -> str:
        """Return 66 lower-case hex characters."""
        return self.encoded.hex()

    def hash160(self) -> bytes:
        """Return the 20-byte hash of the compressed encoding."""
        return hash160(self.encoded)

    def address(self, network: Network) -> str:
        """Return the P2PKH address of the key."""
        return address_from_hash160(self.hash160(), network).to_string()

    def verify(self, signature_der: bytes, digest: bytes) -> bool:
        """Tell whether a strict DER, low-S signature signs this 32-byte digest.

        The digest is used as it is, in natural order; whatever the signature is, no error.
        """
        if len(digest) != 32:
            raise ValueError("a digest is 32 bytes long")
        try:
            check_signature_der(signature_der)
        except InvalidSignatureError:
            return False
        return bool(self._point.verify_der_signature(bytes(signature_der), digest, None))

    def add(self, scalar: bytes) -> "PublicKey":
        """Return this point plus `scalar` times G; 32 big-endian bytes from 1 to n - 1.

        Raises InvalidPublicKeyError for another scalar and for a sum at infinity.
        """
        if not is_scalar(scalar):
            raise InvalidPublicKeyError("The number to add to the public key is out of range.")
        try:
            point = self._point.add(bytes(scalar))
        except ValueError:
            raise InvalidPublicKeyError("The sum of the public keys is infinity.") from None
        return self._of_point(point)

    @classmethod
    def _of_point(cls, point: Any) -> "PublicKey":
        """Wrap a point that is on the curve by its making: parsing it again would take its root."""
        made = object.__new__(cls)
        object.__setattr__(made, "encoded", point.to_bytes(compressed=True))
        object.__setattr__(made, "_point", point)
        return made

    def __repr__(self) -> str:
        return f"<PublicKey {self.to_hex()}>"


class PrivateKey:
    """A number from 1 to n - 1; its representation shows no secret."""

    __slots__ = ("_key", "public_key")

    def __init__(self, secret: bytes) -> None:
        if not is_scalar(secret):
            raise InvalidPrivateKeyError("The private key is not a number from 1 to n - 1.")
        self._key = bitcoinx.PrivateKey(bytes(secret))
        self.public_key = PublicKey(self._key.public_key.to_bytes(compressed=True))

    @classmethod
    def generate(cls) -> "PrivateKey":
        """Make a key from the system's random source."""
        return cls(bitcoinx.PrivateKey.from_random().to_bytes())

    @classmethod
    def from_bytes(cls, raw: bytes) -> "PrivateKey":
        """Read 32 big-endian bytes."""
        return cls(raw)

    @classmethod
    def from_hex(cls, text: str) -> "PrivateKey":
        """Read 64 hex characters, either case."""
        if not isinstance(text, str) or _PRIVATE_HEX.fullmatch(text) is None:
            raise InvalidPrivateKeyError("The private key is not 64 hex characters.")
        return cls(bytes.fromhex(text))

    @classmethod
    def from_wif(cls, text: str) -> "PrivateKey":
        """Read the wallet import format of a compressed key, of any network."""
        payload = base58.find_payload(text) if base58.is_base58(text) else None
        if payload is None or payload[:1] not in (b"\x80", b"\xef"):
            raise InvalidPrivateKeyError("The private key is not in wallet import format.")
        if len(payload) != 34 or payload[33] != _COMPRESSED_MARK:
            raise InvalidPrivateKeyError("The private key is not for a compressed public key.")
        return cls(payload[1:33])

    def to_wif(self, network: Network) -> str:
        """Return the wallet import format of the compressed key."""
        version, mark = bytes([_WIF_VERSION[network]]), bytes([_COMPRESSED_MARK])
        return base58.encode_check(version + self.to_bytes() + mark)

    def to_bytes(self) -> bytes:
        """Return the secret, 32 big-endian bytes."""
        return bytes(self._key.to_bytes())

    def sign(self, digest: bytes) -> bytes:
        """Return the DER, low-S signature (RFC 6979) of a 32-byte digest in natural order."""
        if len(digest) != 32:
            raise ValueError("a digest is 32 bytes long")
        return bytes(self._key.sign(bytes(digest), None))

    def add(self, scalar: bytes) -> "PrivateKey":
        """Return this number plus another modulo n; 32 big-endian bytes from 1 to n - 1.

        Raises InvalidPrivateKeyError for another scalar and for a sum of zero.
        """
        if not is_scalar(scalar):
            raise InvalidPrivateKeyError("The number to add to the private key is out of range.")
        try:
            return PrivateKey(self._key.add(bytes(scalar)).to_bytes())
        except ValueError:
            raise InvalidPrivateKeyError("The sum of the private keys is zero.") from None

    def multiply(self, point: PublicKey) -> PublicKey:
        """Return the product of a point and this number: the shared point of ECDH."""
        return PublicKey(point._point.multiply(self.to_bytes()).to_bytes(compressed=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrivateKey) and self.public_key == other.public_key

    def __hash__(self) -> int:
        return hash(self.public_key)

    def __repr__(self) -> str:
        return f"<PrivateKey of {self.public_key.to_hex()}>"
