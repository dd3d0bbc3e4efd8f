"""What all capabilities share: who asks, how a call is made, how waiting goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from patchproof_client.errors import (
    AuthenticationError,
    MissingCredentialsError,
    PatchProofError,
    StillPendingError,
)
from patchproof_client.reading import Reply
from patchproof_client.tokens import Token, TokenKeeper
from patchproof_client.transport import Call, Credentials, Transport, is_passing

ResultT = TypeVar("ResultT")

# What a question gets at least, however late it is.
SHORTEST_ASK_SECONDS = 1.0
# Before these the service has done nothing, and a new token may do.
_TOKEN_IS_OVER = ("token_expired", "token_invalid", "token_revoked")


@dataclass(frozen=True)
class Polling:
    """The pauses while waiting: the first, and how fast they grow to which longest."""

    first_seconds: float = 0.1
    factor: float = 1.5
    longest_seconds: float = 2.0


class Caller:
    """Makes the calls of one client."""

    def __init__(self, transport: Transport, api_key: str | None) -> None:
        self._transport = transport
        self._api_key = None if api_key is None else _key_header(api_key)
        self._tokens = TokenKeeper()

    def _get(self, path: str, budget_seconds: float | None = None) -> Reply:
        call = Call("GET", path, is_repeatable=True, budget_seconds=budget_seconds)
        return self._transport.send(call)

    def _post(self, path: str, body: Mapping[str, Any], *, is_repeatable: bool = False) -> Reply:
        return self._transport.send(Call("POST", path, body, is_repeatable=is_repeatable))

    def _send_with_key(self, call: Call) -> Reply:
        """Makes a call in the name of the API key."""
        if self._api_key is None:
            raise MissingCredentialsError("this call needs an API key")
        return self._transport.send(call, self._api_key)

    def _send_with_token(self, call: Call) -> Reply:
        """Makes a call in the name of whoever is logged in.

        Where the token has ended and may be renewed, it is, and the call is made once more.
        """
        token = self._tokens.get()
        refusal: AuthenticationError | None = None
        try:
            return self._transport.send(call, _bearer(token))
        except AuthenticationError as error:
            refusal = error
        if refusal.code not in _TOKEN_IS_OVER or not self._tokens.replace(token):
            raise refusal
        return self._transport.send(call, _bearer(self._tokens.get()))

    def _wait(
        self,
        ask: Callable[[float], ResultT],
        is_over: Callable[[ResultT], bool],
        describe: Callable[[ResultT], str],
        timeout_seconds: float,
        polling: Polling,
    ) -> ResultT:
        """Asks again and again; a service that is away for a while is waited for as well.

        `ask` gets the seconds that it may take.
        """
        deadline = time.monotonic() + timeout_seconds
        pause = polling.first_seconds
        trouble: Exception | None = None
        answer: ResultT | None = None
        while True:
            try:
                answer, trouble = ask(max(deadline - time.monotonic(), SHORTEST_ASK_SECONDS)), None
            except PatchProofError as error:
                if not is_passing(error):
                    raise
                trouble = error
            if trouble is None and answer is not None and is_over(answer):
                return answer
            if time.monotonic() + pause > deadline:
                break
            self._transport.pause(pause)
            pause = min(pause * polling.factor, polling.longest_seconds)
        last = "no answer" if answer is None else describe(answer)
        then = f", then: {trouble}" if trouble else ""
        raise StillPendingError(f"{last} after {timeout_seconds:.0f} seconds{then}")


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")


def _bearer(token: Token) -> Credentials:
    return Credentials({"Authorization": f"Bearer {token.text}"})


def _key_header(api_key: str) -> Credentials:
    if not api_key.isascii() or not api_key.isprintable() or not api_key.strip():
        raise ValueError("the API key has characters that no header carries")
    return Credentials({"x-api-key": api_key})
