"""The point of sale: a customer claims a patch, the till approves."""

from __future__ import annotations

import secrets
import time

from patchproof_client.answers import ApprovedClaim, ClaimStanding
from patchproof_client.caller import Caller, Polling, segment
from patchproof_client.errors import ClaimEndedError
from patchproof_client.keys import OwnerKey
from patchproof_client.messages import claim_message, transfer_message
from patchproof_client.transport import Call

CLAIM_SECONDS = 120.0


class ClaimCalls(Caller):
    """Claims; `approve_claim` needs an API key of the till."""

    def create_claim(self, uid_tag_id: str, customer: OwnerKey, user_id: str) -> str:
        """Claims a patch for a customer, whose key signs here; answers the claim's id.

        The clock of this machine must be right to within minutes. Where no answer comes a claim may
        be waiting, and ends by itself; claim again.

        Raises:
            NotFoundError: no patch has this uid.
        """
        ts, nonce = int(time.time() * 1000), secrets.token_hex(16)
        body = {
            "uid": uid_tag_id,
            "customer": {
                "address": customer.address,
                "userId": user_id,
                "pubKey": customer.public_key_hex,
            },
            "challenge": {"ts": ts, "nonce": nonce},
            "signature": customer.sign(claim_message(uid_tag_id, customer.address, ts, nonce)),
        }
        return self._post("/v1/pos/claim-intent", body).members.text("id")

    def approve_claim(self, claim_id: str, approved_by: str) -> ApprovedClaim:
        """Approves a claim of a patch that belongs to the shop, in the name of a person.

        Where no answer comes, `get_claim` tells whether it was approved: it is at most once.

        Raises:
            ConflictError: it is not pending any more, or the patch was handed on.
            PermissionDeniedError: the patch is not the shop's, or the key is not a till's.
        """
        return self._approve({"intentId": claim_id, "approvedBy": approved_by})

    def approve_claim_as_owner(
        self,
        claim_id: str,
        approved_by: str,
        *,
        uid_tag_id: str,
        current_txid: str,
        owner: OwnerKey,
        customer_address: str,
    ) -> ApprovedClaim:
        """The same for a patch of somebody else's: the owner's key signs it over here."""
        message = transfer_message(uid_tag_id, current_txid, customer_address)
        return self._approve(
            {
                "intentId": claim_id,
                "approvedBy": approved_by,
                "currentOwnerSignature": owner.sign(message),
                "currentOwnerPubKey": owner.public_key_hex,
            }
        )

    def get_claim(self, claim_id: str) -> ClaimStanding:
        """Asks how far a claim is."""
        return self._ask_claim(claim_id)

    def wait_for_claim(
        self,
        claim_id: str,
        *,
        timeout_seconds: float = CLAIM_SECONDS,
        polling: Polling = Polling(),  # noqa: B008 - it can't be changed
    ) -> str:
        """Asks until the patch is the customer's; answers its new txid.

        Raises:
            ClaimEndedError: it has failed or expired.
            StillPendingError: it takes longer.
        """
        standing = self._wait(
            lambda seconds: self._ask_claim(claim_id, seconds),
            lambda answer: answer.status not in ("pending", "approved"),
            lambda answer: f"the claim {claim_id} is still {answer.status}",
            timeout_seconds,
            polling,
        )
        if standing.status != "confirmed" or standing.txid is None:
            raise ClaimEndedError(claim_id, standing.status, standing.error)
        return standing.txid

    def _ask_claim(self, claim_id: str, budget_seconds: float | None = None) -> ClaimStanding:
        path = f"/v1/pos/claim-status/{segment(claim_id)}"
        return ClaimStanding.read(self._get(path, budget_seconds).members)

    def _approve(self, body: dict[str, str]) -> ApprovedClaim:
        call = Call("POST", "/v1/pos/claim-approve", body)
        return ApprovedClaim.read(self._send_with_key(call).members)
