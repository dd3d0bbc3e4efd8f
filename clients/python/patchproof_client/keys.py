"""Owners' keys. They sign here, with the caller, and are sent nowhere."""

from __future__ import annotations

import re
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from patchproof_client import base58
from patchproof_client.hashes import hash160, sha256

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HEX_64 = re.compile(r"[0-9a-fA-F]{64}")
_COMPRESSED_MARK = 0x01


class Network(StrEnum):
    """A chain; regtest writes its addresses and keys like test."""

    MAIN = "main"
    TEST = "test"
    REGTEST = "regtest"

    @property
    def address_version(self) -> int:
        """The first byte of a P2PKH address."""
        return 0x00 if self is Network.MAIN else 0x6F

    @property
    def key_version(self) -> int:
        """The first byte of a private key in wallet import format."""
        return 0x80 if self is Network.MAIN else 0xEF


class OwnerKey:
    """A private key of secp256k1 and the address that it owns patches under.

    What it prints of itself is the address. `to_hex` and `to_wif` alone give the secret away, so
    whoever keeps keys calls one of them on purpose. It can't be changed, so threads may share it.

        key = OwnerKey.generate(Network.MAIN)
        key.address          # "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9", for register and transfer
        key.to_wif()         # for the caller's safe
    """

    __slots__ = ("_address", "_key", "_network", "_public_key_hex")

    def __init__(self, secret: int, network: Network) -> None:
        """Use `generate`, `from_hex` or `from_wif`; `secret` is a number from 1 to n - 1."""
        if not 0 < secret < ORDER:
            raise ValueError("a private key is a number from 1 to n - 1")
        self._key = ec.derive_private_key(secret, ec.SECP256K1())
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self._network = Network(network)
        self._public_key_hex = point.hex()
        version = bytes([self._network.address_version])
        self._address = base58.encode_check(version + hash160(point))

    @classmethod
    def generate(cls, network: Network) -> OwnerKey:
        """Makes a key from the system's random source."""
        made = ec.generate_private_key(ec.SECP256K1())
        return cls(made.private_numbers().private_value, network)

    @classmethod
    def from_hex(cls, text: str, network: Network) -> OwnerKey:
        """Reads 64 hex characters, either case.

        Raises:
            ValueError: they are something else; the text is not repeated.
        """
        if not _HEX_64.fullmatch(text):
            raise ValueError("a private key is 64 hex characters")
        return cls(int(text, 16), network)

    @classmethod
    def from_wif(cls, text: str) -> OwnerKey:
        """Reads the wallet import format of a compressed key, which names its network.

        Test networks share one version byte; for such a key the network is TEST, whose addresses
        are those of regtest too.

        Raises:
            ValueError: it is something else; the text is not repeated.
        """
        payload = base58.find_payload(text)
        if payload is None or len(payload) != 34 or payload[33] != _COMPRESSED_MARK:
            raise ValueError("this is no compressed private key in wallet import format")
        for network in (Network.MAIN, Network.TEST):
            if payload[0] == network.key_version:
                return cls(int.from_bytes(payload[1:33], "big"), network)
        raise ValueError("the private key belongs to another chain")

    @property
    def network(self) -> Network:
        return self._network

    @property
    def address(self) -> str:
        """The P2PKH address, base58check."""
        return self._address

    @property
    def public_key_hex(self) -> str:
        """The public key in compressed SEC form, 66 lower-case hex characters."""
        return self._public_key_hex

    def to_hex(self) -> str:
        """The secret itself, 64 hex characters."""
        return f"{self._secret():064x}"

    def to_wif(self) -> str:
        """The secret itself in wallet import format."""
        secret = self._secret().to_bytes(32, "big")
        version, mark = bytes([self._network.key_version]), bytes([_COMPRESSED_MARK])
        return base58.encode_check(version + secret + mark)

    def sign(self, message: bytes) -> str:
        """Signs the one SHA-256 of a message; answers DER with low S, in hex."""
        return self.sign_digest(sha256(message)).hex()

    def sign_digest(self, digest: bytes) -> bytes:
        """Signs 32 bytes as they are; answers DER with low S (BIP 62), nonce by RFC 6979.

        Sign only digests that were computed here: a signature over bytes that somebody else chose
        may be one over a message that nobody wanted to sign.
        """
        algorithm = ec.ECDSA(Prehashed(SHA256()), deterministic_signing=True)
        r, s = decode_dss_signature(self._key.sign(digest, algorithm))
        return encode_dss_signature(r, min(s, ORDER - s))

    def shifted(self, number: int) -> OwnerKey:
        """The key whose secret is this one's plus a number, modulo n.

        Raises:
            ValueError: the sum is 0, which is no key.
        """
        return OwnerKey((self._secret() + number) % ORDER, self._network)

    def _secret(self) -> int:
        return self._key.private_numbers().private_value

    def __repr__(self) -> str:
        return f"<OwnerKey {self._address}>"
