"""What a service holds about whoever is logged in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from patchproof_client import messages
from patchproof_client.caller import Caller
from patchproof_client.keys import OwnerKey
from patchproof_client.transport import Call


class PrivacyCalls(Caller):
    """Export and deletion of one's own data. All of it needs a login."""

    def export_data(self, cursor: str | None = None) -> Mapping[str, Any]:
        """A page of what the service holds about the caller, as it answers it.

        `cursor` is the `nextCursor` of the page before; that of the last page is None.
        """
        query = "" if cursor is None else f"?{urlencode({'cursor': cursor})}"
        call = Call("GET", f"/v1/privacy/export{query}", is_repeatable=True)
        return self._send_with_token(call).members.values

    def export_pages(self) -> Iterator[Mapping[str, Any]]:
        """All pages of it, one after the other."""
        page = self.export_data()
        yield page
        while page.get("nextCursor"):
            page = self.export_data(str(page["nextCursor"]))
            yield page

    def prove_key(self, subject: str, key: OwnerKey) -> Mapping[str, Any]:
        """Shows that a wallet's key is the caller's, so that export and deletion follow it.

        `subject` is who the token names: the user id, or the address of mail, of the login.
        """
        message = messages.key_proof_message(subject, key.public_key_hex)
        body = {"pubKey": key.public_key_hex, "signature": key.sign(message)}
        call = Call("POST", "/v1/privacy/keys", body, is_repeatable=True)
        return self._send_with_token(call).members.values

    def delete_data(self) -> Mapping[str, Any]:
        """Erases what can be erased; the answer says what remains and why.

        The caller's tokens end with it, except for asking this again.
        """
        call = Call("DELETE", "/v1/privacy/delete", is_repeatable=True)
        return self._send_with_token(call).members.values
