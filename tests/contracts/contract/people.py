"""Somebody with a master key, who logs in as the older clients do."""

from __future__ import annotations

from dataclasses import dataclass, field

import requests

from app.bitcoin.keys import PrivateKey
from app.domain import svd
from tests.contracts.contract.wire import Wire, new_user
from tests.integration.login.people import raised_s


@dataclass
class Person:
    """A user of the service behind `wire`."""

    wire: Wire
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    user_id: str = field(default_factory=new_user)

    @property
    def public_key_hex(self) -> str:
        return self.key.public_key.to_hex()

    def register(self) -> requests.Response:
        body = {"userId": self.user_id, "pmcHex": self.public_key_hex}
        return self.wire.post("/api/svd/register", body)

    def begin(self) -> str:
        return str(self.wire.post("/api/svd/begin", {"userId": self.user_id}).json()["M"])

    def sign(self, challenge_hex: str) -> str:
        m = svd.challenge_digest(bytes.fromhex(challenge_hex))
        return self.key.add(svd.tweak(m)).sign(m).hex()

    def raised_s(self, challenge_hex: str) -> str:
        """The same signature with a high S."""
        return raised_s(self.sign(challenge_hex))

    def complete(self, challenge_hex: str, signature: str | None = None) -> requests.Response:
        body = {
            "userId": self.user_id,
            "M": challenge_hex,
            "signatureHex": signature or self.sign(challenge_hex),
        }
        return self.wire.post("/api/svd/complete", body)

    def log_in(self) -> requests.Response:
        return self.complete(self.begin())
