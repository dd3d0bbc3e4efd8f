"""What a customer says at the till: "this patch goes to my address", signed by its key."""

from __future__ import annotations

from dataclasses import dataclass

from app.bitcoin.addresses import Network
from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.keys import PublicKey
from app.domain.canonical import sha256_hex
from app.domain.messages import claim_message, is_signed_by


@dataclass(frozen=True)
class Claim:
    """A customer's signed claim of a patch; `ts` is Unix milliseconds by the customer's clock.

    The key is compressed and the signature DER, both in hex; neither need be well formed.
    """

    uid_tag_id: str
    address: str
    public_key_hex: str
    ts: int
    nonce: str
    signature_der_hex: str

    def is_of_key(self, network: Network) -> bool:
        """Tells whether the address is that of the key."""
        try:
            return PublicKey.from_hex(self.public_key_hex).address(network) == self.address
        except BitcoinFormatError:
            return False

    def is_signed(self) -> bool:
        """Tells whether the key signed just this claim."""
        message = claim_message(self.uid_tag_id, self.address, self.ts, self.nonce)
        return is_signed_by(self.public_key_hex, self.signature_der_hex, message)


def is_timely(ts: int, now: int, window_ms: int) -> bool:
    """Tells whether a claim's time is at most `window_ms` from now, before or after."""
    return abs(now - ts) <= window_ms


def approver_digest(salt: bytes, name: str) -> str:
    """Return what a public record shows of who approved it: `sha256:<hex>` over salt and name.

    Who knows salt and name can prove it; once they are erased nobody can guess the name, and the
    record stays as provable as it was.
    """
    return f"sha256:{sha256_hex(salt + name.encode())}"


def mark_of_nonce(public_key_hex: str, nonce: str) -> str:
    """Return what says that a key has used a nonce once both are erased: 64 hex characters."""
    return sha256_hex(f"{public_key_hex}|{nonce}".encode())


def mark_of_signature(signature_der_hex: str) -> str:
    """Return what says that a signature was used once it is erased."""
    return f"{ERASED}:{sha256_hex(signature_der_hex.encode())}"


# Stands where an erased claim had its key; no key looks like it.
ERASED = "erased"
