"""What a service holds about whoever is logged in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchproof_client.caller import Caller
from patchproof_client.transport import Call


class PrivacyCalls(Caller):
    """Export and deletion of one's own data. Both need a login."""

    def export_data(self) -> Mapping[str, Any]:
        """Everything that the service holds about the caller, as it answers it."""
        call = Call("GET", "/v1/privacy/export", is_repeatable=True)
        return self._send_with_token(call).members.values

    def delete_data(self) -> Mapping[str, Any]:
        """Erases what can be erased; the answer says what remains and why."""
        call = Call("DELETE", "/v1/privacy/delete", is_repeatable=True)
        return self._send_with_token(call).members.values
