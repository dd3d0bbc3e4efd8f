"""Content that only the owner may read."""

from __future__ import annotations

from collections.abc import Mapping

from patchproof_client.answers import Unlocked
from patchproof_client.caller import segment
from patchproof_client.errors import NoAnswerError
from patchproof_client.keys import OwnerKey
from patchproof_client.messages import unlock_message
from patchproof_client.patches import PatchCalls
from patchproof_client.transport import Call

UNLOCK_TRIES = 3


class UnlockCalls(PatchCalls):
    """Proving ownership, and opening what was sealed for the owner. Needs the API key."""

    def unlock(
        self,
        uid_tag_id: str,
        owner: OwnerKey,
        *,
        current_txid: str | None = None,
        sealed: Mapping[str, str] | None = None,
    ) -> Unlocked:
        """Asks for a nonce, has the owner's key sign it here, and opens sealed content.

        `sealed` are the four base64 members `wrappedKeyB64`, `wrapIvB64`, `ciphertextB64` and
        `cipherIvB64`; without it the answer is only that the key is the owner's. `current_txid` is
        looked up where it is not given. Each try takes a nonce of its own.

        Raises:
            NotFoundError: no patch has this uid.
            PermissionDeniedError: the key is not the owner's.
            InvalidRequestError: the content does not open.
        """
        txid = current_txid or self._find_head(uid_tag_id)
        for _ in range(UNLOCK_TRIES - 1):
            try:
                return self._unlock_once(uid_tag_id, txid, owner, sealed)
            except NoAnswerError:
                # The nonce may be used up, and nothing else has happened.
                continue
        return self._unlock_once(uid_tag_id, txid, owner, sealed)

    def create_unlock_challenge(self, uid_tag_id: str) -> str:
        """Asks for a nonce that unlocks once, for an owner who signs elsewhere."""
        path = f"/v1/patches/{segment(uid_tag_id)}/unlock-challenge"
        return self._send_with_key(Call("POST", path, is_repeatable=True)).members.text("nonce")

    def unlock_with_nonce(
        self,
        uid_tag_id: str,
        *,
        nonce: str,
        public_key_hex: str,
        signature_hex: str,
        sealed: Mapping[str, str] | None = None,
    ) -> Unlocked:
        """Hands in what an owner elsewhere has signed: `messages.unlock_message`, DER in hex."""
        body = {
            "ownerPubKey": public_key_hex,
            "ownerSignature": signature_hex,
            "nonce": nonce,
            **(sealed or {}),
        }
        path = f"/v1/patches/{segment(uid_tag_id)}/unlock-content"
        return Unlocked.read(self._send_with_key(Call("POST", path, body)).members)

    def _unlock_once(
        self, uid_tag_id: str, txid: str, owner: OwnerKey, sealed: Mapping[str, str] | None
    ) -> Unlocked:
        nonce = self.create_unlock_challenge(uid_tag_id)
        return self.unlock_with_nonce(
            uid_tag_id,
            nonce=nonce,
            public_key_hex=owner.public_key_hex,
            signature_hex=owner.sign(unlock_message(uid_tag_id, txid, nonce)),
            sealed=sealed,
        )

    def _find_head(self, uid_tag_id: str) -> str:
        return self.history(uid_tag_id)[-1].txid
