"""The client: one class with every capability."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from patchproof_client.claims import ClaimCalls
from patchproof_client.logins import LoginCalls
from patchproof_client.privacy import PrivacyCalls
from patchproof_client.transport import RetryPolicy, Transport
from patchproof_client.unlocking import UnlockCalls


class PatchProofClient(UnlockCalls, LoginCalls, ClaimCalls, PrivacyCalls):
    """Speaks to one PatchProof service.

        with PatchProofClient("https://patches.example", api_key="pp_…") as client:
            submitted = client.register({"uid_tag_id": "04A22B1C"}, owner.address)
            txid = client.wait_until_confirmed(submitted)

    A brand's backend has an API key; an owner's device has none and logs in. Owners' keys are given
    to the calls that sign with them, sign on this machine, and are kept by `login` alone, where
    `renew` asks for it.

    Threads may share a client: connections are pooled, and of several threads that need a new token
    one gets it for all. `login`, `use_token` and `logout` change who all of them are. A child
    process makes its own client.

    Every call either does what it says, or raises a PatchProofError (errors.py lists them), in at
    most `retries.max_elapsed_seconds`; methods that wait or begin anew say so themselves. Reads are
    repeated on silence and outages, and so is what the service does once however often it is asked;
    what it refused before doing anything (429, no connection) is repeated always.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        retries: RetryPolicy | None = None,
        allow_http: bool = False,
    ) -> None:
        """Opens no connection.

        `allow_http` is for a network where nobody else listens; loopback needs none.

        Raises:
            ValueError: `base_url` or `api_key` can't be one.
        """
        super().__init__(
            Transport(base_url, retries or RetryPolicy(), allow_http=allow_http), api_key
        )

    @property
    def base_url(self) -> str:
        return self._transport.base_url

    def close(self) -> None:
        """Ends whatever waits, in other threads too, with ClientClosedError; forgets the token."""
        self._transport.close()
        self._tokens.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PatchProofClient of {self.base_url}>"
