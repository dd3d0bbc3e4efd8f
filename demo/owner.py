"""People who own patches: their keys stay with them."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.bitcoin.addresses import Network
from app.bitcoin.keys import PrivateKey
from app.domain.messages import digest


@dataclass(frozen=True)
class Owner:
    """A key and the address that it owns patches under."""

    network: Network
    key: PrivateKey = field(default_factory=PrivateKey.generate)

    @property
    def address(self) -> str:
        return self.key.public_key.address(self.network)

    @property
    def public_key_hex(self) -> str:
        return self.key.public_key.to_hex()

    def sign(self, message: bytes) -> str:
        """Signs a message's one SHA-256; DER with low S, hex."""
        return self.key.sign(digest(message)).hex()
