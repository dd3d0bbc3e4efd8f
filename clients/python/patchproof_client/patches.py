"""Registering patches, handing them on, and asking what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from patchproof_client.answers import CustodyEvent, Kind, Pending, Submitted, Verification
from patchproof_client.caller import Caller, Polling, segment
from patchproof_client.errors import RecordFailedError
from patchproof_client.keys import OwnerKey
from patchproof_client.messages import transfer_message
from patchproof_client.transport import Call

CONFIRM_SECONDS = 60.0


class PatchCalls(Caller):
    """A patch's life: registered, verified, handed on."""

    def register(
        self,
        product: Mapping[str, str],
        owner_address: str,
        metadata: Mapping[str, str] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Registers a product's patch for its first owner; needs the API key.

        `product` has `uid_tag_id` and may have `name`, `category`, `sku`, `serial_number`,
        `material`; `metadata` may have `notes`, `image`, `patch_location`.

        The call is repeated until it is answered, and registers once however often that is. A
        caller who may die in between stores an `idempotency_key` first (a UUID, for example): the
        same call with the same key is answered alike for a day, also by another process.

        Raises:
            AlreadyRegisteredError: the tag is registered, by another request.
            InvalidRequestError: `details` name the fields.
            IdempotencyError: the key came with another registration before.
        """
        body = {
            "product": dict(product),
            "metadata": dict(metadata or {}),
            "auth": {"owner": owner_address},
        }
        reply = self._send_with_key(_once("/v1/patches", body, idempotency_key))
        return Submitted.read("registration", product["uid_tag_id"], reply)

    def transfer(
        self,
        uid_tag_id: str,
        current_txid: str,
        owner: OwnerKey,
        new_owner_address: str,
        *,
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Hands a patch to a new owner; needs a login, and the present owner's key signs here.

        `current_txid` is what the last `wait_until_confirmed` or the end of `history` says: the
        signature is good for this one step. Repeated like `register`.

        Raises:
            PatchMovedError: it has another txid by now, or is being handed on.
            PermissionDeniedError: the key is not the owner's.
        """
        body = {
            "newOwnerAddress": new_owner_address,
            "currentOwnerSignature": owner.sign(
                transfer_message(uid_tag_id, current_txid, new_owner_address)
            ),
            "currentOwnerPubKey": owner.public_key_hex,
        }
        path = f"/v1/patches/{segment(current_txid)}/transfer-ownership"
        reply = self._send_with_token(_once(path, body, idempotency_key))
        return Submitted.read("transfer", uid_tag_id, reply)

    def get_pending(self, kind: Kind, pending_id: str) -> Pending:
        """Asks how far an accepted record is."""
        return self._ask_pending(kind, pending_id)

    def wait_until_confirmed(
        self,
        submitted: Submitted,
        *,
        timeout_seconds: float = CONFIRM_SECONDS,
        polling: Polling = Polling(),  # noqa: B008 - it can't be changed
    ) -> str:
        """Asks until the network has a record's transaction; answers the patch's new txid.

        Raises:
            RecordFailedError: it never will have.
            StillPendingError: it takes longer; asking again later is all there is to do.
        """
        if submitted.txid is not None:
            return submitted.txid
        pending_id = submitted.pending_id
        if pending_id is None:
            raise ValueError("there is nothing to ask for: neither pending_id nor txid")
        pending = self._wait(
            lambda seconds: self._ask_pending(submitted.kind, pending_id, seconds),
            lambda answer: answer.status in ("confirmed", "failed"),
            lambda answer: _describe(submitted, answer),
            timeout_seconds,
            polling,
        )
        if pending.status == "failed" or pending.txid is None:
            raise RecordFailedError(submitted.kind, submitted.uid_tag_id, pending.error)
        return pending.txid

    def verify(self, uid_tag_id: str) -> Verification:
        """Asks whether a patch is authentic; anybody may.

        Raises:
            NotFoundError: no patch has this uid.
        """
        return Verification.read(self._get(f"/v1/patches/verify/{segment(uid_tag_id)}").members)

    def history(self, uid_tag_id: str) -> list[CustodyEvent]:
        """Lists where a patch has been, oldest first; anybody may.

        Raises:
            NotFoundError: no patch has this uid.
        """
        members = self._get(f"/v1/patches/{segment(uid_tag_id)}/history").members
        return [CustodyEvent.read(each) for each in members.objects("events")]

    def _ask_pending(
        self, kind: Kind, pending_id: str, budget_seconds: float | None = None
    ) -> Pending:
        path = f"/v1/patches/pending/{kind}/{segment(pending_id)}"
        return Pending.read(self._get(path, budget_seconds).members)


def _once(path: str, body: Mapping[str, Any], idempotency_key: str | None) -> Call:
    """A call that may be made again, since the service knows it by its key."""
    headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
    return Call("POST", path, body, headers, is_repeatable=True)


def _describe(submitted: Submitted, pending: Pending) -> str:
    why = f" ({pending.error})" if pending.error else ""
    return f"the {submitted.kind} of {submitted.uid_tag_id} is still {pending.status}{why}"
