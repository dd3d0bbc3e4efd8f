"""P2PKH addresses and the networks that they belong to."""

import re
from dataclasses import dataclass
from enum import StrEnum

from app.bitcoin import base58
from app.bitcoin.errors import InvalidAddressError
from app.bitcoin.scripts import p2pkh_locking_script


class Network(StrEnum):
    """A chain; regtest writes its addresses like test."""

    MAIN = "main"
    TEST = "test"
    REGTEST = "regtest"


_P2PKH_VERSION = {Network.MAIN: 0x00, Network.TEST: 0x6F, Network.REGTEST: 0x6F}
_P2SH_VERSION = {Network.MAIN: 0x05, Network.TEST: 0xC4, Network.REGTEST: 0xC4}
_SHAPE = re.compile(r"[1-9A-HJ-NP-Za-km-z]{25,35}")


@dataclass(frozen=True)
class Address:
    """The hash of a public key, 20 bytes, on a network."""

    hash160: bytes
    network: Network

    def to_string(self) -> str:
        """Return the base58check text."""
        return base58.encode_check(bytes([_P2PKH_VERSION[self.network]]) + self.hash160)

    def locking_script(self) -> bytes:
        """Return the script that pays this address."""
        return p2pkh_locking_script(self.hash160)

    def __str__(self) -> str:
        return self.to_string()


def address_from_hash160(hash160: bytes, network: Network) -> Address:
    """Return the address of a 20-byte public key hash."""
    if len(hash160) != 20:
        raise InvalidAddressError("A public key hash is 20 bytes long.", "malformed")
    return Address(bytes(hash160), network)


def parse_address(text: str, network: Network) -> Address:
    """Return the address that `text` spells, which it spells in no other way.

    Raises InvalidAddressError with a reason; only P2PKH addresses of `network` pass.
    """
    if not isinstance(text, str) or _SHAPE.fullmatch(text) is None:
        raise InvalidAddressError("The address is not 25 to 35 base58 characters.", "malformed")
    payload = base58.find_payload(text)
    if payload is None:
        raise InvalidAddressError("The address has a wrong checksum.", "checksum")
    if len(payload) != 21:
        raise InvalidAddressError("The address does not hold 20 bytes of hash.", "malformed")
    _check_version(payload[0], network)
    return Address(payload[1:], network)


def _check_version(version: int, network: Network) -> None:
    if version == _P2SH_VERSION[network]:
        raise InvalidAddressError("The address pays a script; only P2PKH is accepted.", "not_p2pkh")
    if version != _P2PKH_VERSION[network]:
        raise InvalidAddressError(
            f"The address does not belong to the {network.value} network.", "network"
        )
