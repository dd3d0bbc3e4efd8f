"""Somebody with a master key, who logs in as the documentation for authors of clients says."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from werkzeug.test import TestResponse

from app.bitcoin.keys import N, PrivateKey
from app.domain import svd
from app.domain.messages import digest, key_registration_message, key_rotation_message
from app.services import tokens
from tests.integration.api.caller import Caller


@dataclass
class Person:
    """A user of the service that `caller` reaches."""

    caller: Caller
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    user_id: str = field(default_factory=lambda: secrets.token_hex(12))

    @property
    def public_key_hex(self) -> str:
        return self.key.public_key.to_hex()

    def post(self, path: str, body: Any) -> TestResponse:
        """Sends a body to a route of the login, without any credential."""
        return self.caller.send_without_key("POST", f"/api/svd/{path}", json=body)

    def begin(self) -> str:
        """Asks for a challenge; answers M."""
        response = self.post("begin", {"userId": self.user_id})
        assert response.status_code == 200, response.get_data(as_text=True)
        return str(response.json["M"])

    def sign(self, challenge_hex: str) -> str:
        """Signs a challenge with the key that belongs to it."""
        m = svd.challenge_digest(bytes.fromhex(challenge_hex))
        return self.key.add(svd.tweak(m)).sign(m).hex()

    def complete(self, challenge_hex: str, signature: str | None = None) -> TestResponse:
        """Answers a challenge, with the right signature unless another is given."""
        return self.post(
            "complete",
            {
                "userId": self.user_id,
                "M": challenge_hex,
                "signatureHex": self.sign(challenge_hex) if signature is None else signature,
            },
        )

    def log_in(self) -> dict[str, Any]:
        """Logs in for certain; answers the token's claims."""
        response = self.complete(self.begin())
        assert response.status_code == 200, response.get_data(as_text=True)
        return tokens.verify(response.json["token"])

    def nonce(self) -> str:
        """Asks for a nonce for a change of keys."""
        response = self.post("register-challenge", {"userId": self.user_id})
        assert response.status_code == 200, response.get_data(as_text=True)
        return str(response.json["nonce"])

    def register(self) -> TestResponse:
        """Registers the key the way older clients do."""
        return self.post("register", {"userId": self.user_id, "pmcHex": self.public_key_hex})

    def proof(self, nonce: str) -> dict[str, str]:
        """The body of a registration with a signature over a nonce."""
        message = key_registration_message(self.user_id, self.public_key_hex, nonce)
        return {
            "userId": self.user_id,
            "pmcHex": self.public_key_hex,
            "nonce": nonce,
            "signatureHex": self.key.sign(digest(message)).hex(),
        }

    def rotation(self, new_key: PrivateKey, nonce: str) -> dict[str, str]:
        """The body of a change of keys."""
        new = new_key.public_key.to_hex()
        signed = digest(key_rotation_message(self.user_id, new, nonce))
        return {
            "userId": self.user_id,
            "newPmcHex": new,
            "nonce": nonce,
            "signatureHex": self.key.sign(signed).hex(),
            "newSignatureHex": new_key.sign(signed).hex(),
        }


def raised_s(signature_hex: str) -> str:
    """The other encoding of the same signature, with S above half the order."""
    der = bytes.fromhex(signature_hex)
    r_end = 4 + der[3]
    r, s = der[4:r_end], int.from_bytes(der[r_end + 2 :], "big")
    high = (N - s).to_bytes(33, "big")
    body = b"\x02" + bytes([len(r)]) + r + b"\x02" + bytes([len(high)]) + high
    return (b"\x30" + bytes([len(body)]) + body).hex()


def code_of(response: TestResponse) -> tuple[int, str]:
    """The status of a failure and the code that clients read."""
    return response.status_code, str(response.json["code"])
