"""What customers and cashiers do."""

from __future__ import annotations

from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from app.bitcoin.addresses import Network
from app.domain.claims import Claim
from app.domain.clock import unix_milliseconds, utc_now
from app.domain.messages import claim_message, transfer_message
from app.models.claim_intent import ClaimIntent
from app.models.record import AuthenticationRecord
from app.services import claims
from app.services.claims import Approval
from tests.integration.services.lab import Lab, Owner

UID = "NFC-1"
CASHIER = "Ann at the till"


@dataclass(frozen=True)
class Shop:
    """A shop with a till, and a patch that the shop owns."""

    lab: Lab
    owner: Owner = field(default_factory=Owner)

    def open(self, **settings: str) -> AuthenticationRecord:
        """Starts the services with the shop's address, and registers its patch."""
        self.lab.configure(POS_SHOP_ADDRESSES=self.owner.address, **settings)
        self.lab.fill_pool(4)
        return self.lab.registered(UID, self.owner)


def signed_claim(customer: Owner, uid: str = UID, **changes: Any) -> Claim:
    """A claim that the customer's key has signed; `changes` count before it signs."""
    parts = {
        "uid": uid,
        "address": customer.key.public_key.address(Network.REGTEST),
        "ts": unix_milliseconds(utc_now()),
        "nonce": token_hex(8),
        **changes,
    }
    return Claim(
        uid_tag_id=parts["uid"],
        address=parts["address"],
        public_key_hex=customer.public_key_hex,
        ts=parts["ts"],
        nonce=parts["nonce"],
        signature_der_hex=customer.sign(claim_message(**parts)),
    )


def claimed(customer: Owner, uid: str = UID) -> ClaimIntent:
    """Claims a patch."""
    return claims.create(signed_claim(customer, uid), user_id="customer-1")


def approve(claim: ClaimIntent, *, owner: Owner | None = None, by: str = CASHIER) -> Approval:
    """Approves a claim at the till, with the owner's signature where one is given."""
    if owner is None:
        return claims.approve(str(claim.id), approved_by=by)
    message = transfer_message(claim.uid_tag_id, claim.head, claim.customer_address)
    return claims.approve(
        str(claim.id),
        approved_by=by,
        owner_public_key_hex=owner.public_key_hex,
        owner_signature=owner.sign(message),
    )


def stored(claim: ClaimIntent) -> ClaimIntent:
    """The claim as it is stored now."""
    found = ClaimIntent.find(str(claim.id))
    assert found is not None
    return found


def standing(claim: ClaimIntent) -> str:
    """How far the claim is, for anyone who asks."""
    return claims.get_standing(str(claim.id)).status


def record_of(claim: ClaimIntent) -> AuthenticationRecord:
    """The record of an approved claim."""
    record: AuthenticationRecord = AuthenticationRecord.objects.get(id=stored(claim).record_id)
    return record
