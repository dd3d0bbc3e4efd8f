"""The token of a login: kept in memory, and renewed before it ends where the caller allows it."""

from __future__ import annotations

import json
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass, field

from patchproof_client.errors import MissingCredentialsError

# So long before its end a token is renewed, at most a quarter of its life.
MARGIN_SECONDS = 60.0


@dataclass(frozen=True)
class Token:
    """A bearer token that no representation shows."""

    text: str = field(repr=False)

    @property
    def life_seconds(self) -> float:
        """How long it lives, by its own claims; for ever where it does not say.

        Nothing is verified: the service does that, and nobody here relies on it.
        """
        try:
            payload = self.text.split(".")[1]
            claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return max(float(claims["exp"] - claims["iat"]), 0.0)
        except (ValueError, LookupError, TypeError, RecursionError):
            return float("inf")


class TokenKeeper:
    """Holds at most one token; threads may share it, and one of them renews it for all."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._token: Token | None = None
        self._renew: Callable[[], Token] | None = None
        self._renew_at = 0.0

    def keep(self, token: Token, renew: Callable[[], Token] | None = None) -> None:
        """Takes a token over, with what gets a new one where that is allowed."""
        with self._lock:
            self._token, self._renew = token, renew
            # By this machine's clock alone: it need not agree with the service's.
            life = token.life_seconds
            self._renew_at = time.monotonic() + life - min(MARGIN_SECONDS, life / 4)

    def forget(self) -> None:
        with self._lock:
            self._token, self._renew = None, None

    def get(self) -> Token:
        """The token, a fresh one where its end is near.

        Raises:
            MissingCredentialsError: there is none.
        """
        with self._lock:
            if self._token is None:
                raise MissingCredentialsError("this call needs a login: login or use_token first")
            if self._renew is not None and time.monotonic() >= self._renew_at:
                self.keep(self._renew(), self._renew)
            return self._token

    def replace(self, refused: Token) -> bool:
        """Gets a new token after one was refused; tells whether there is another one now."""
        with self._lock:
            if self._token == refused and self._renew is not None:
                self.keep(self._renew(), self._renew)
            return self._token not in (None, refused)

    def __repr__(self) -> str:
        return f"<TokenKeeper with {'no' if self._token is None else 'a'} token>"
