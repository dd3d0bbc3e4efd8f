"""Logging in: by key, by a mailed code, or with a token from elsewhere."""

from __future__ import annotations

import re

from patchproof_client import messages, svd
from patchproof_client.caller import Caller
from patchproof_client.errors import ChallengeError, NoAnswerError
from patchproof_client.keys import OwnerKey
from patchproof_client.reading import Reply
from patchproof_client.svd import UnusableChallengeError
from patchproof_client.tokens import Token
from patchproof_client.transport import Call

LOGIN_TRIES = 3
_CHALLENGE = re.compile("[0-9a-fA-F]{48}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class LoginCalls(Caller):
    """The token that a login gives stays in this client's memory."""

    def login(self, user_id: str, key: OwnerKey, *, renew: bool = False) -> None:
        """Logs a user in with their key; `user_id` is 24 hex characters.

        With `renew` the client keeps the key and logs in again shortly before a token ends, and
        whenever one is refused as over. Without it the key is forgotten at once. A challenge that
        expired, was used up or whose answer got lost is followed by a new one.

        Raises:
            LoginError: no such user, a wrong or a revoked key.
        """
        token = self._obtain_token(user_id, key)
        self._tokens.keep(token, (lambda: self._obtain_token(user_id, key)) if renew else None)

    def register_login_key(self, user_id: str, key: OwnerKey, *, proves: bool = True) -> None:
        """Registers a user's first login key, with a proof that the caller holds it.

        `proves=False` is for services that know no proofs. Where no answer comes the key may be
        registered: logging in tells.

        Raises:
            LoginError: `DUPLICATE_PMC`, the user has a key, or the key has a user.
        """
        body = {"userId": user_id, "pmcHex": key.public_key_hex}
        if proves:
            nonce = self._create_key_nonce(user_id)
            message = messages.key_registration_message(user_id, key.public_key_hex, nonce)
            body |= {"nonce": nonce, "signatureHex": key.sign(message)}
        _require_success(self._post("/api/svd/register", body))

    def rotate_login_key(self, user_id: str, old_key: OwnerKey, new_key: OwnerKey) -> None:
        """Replaces a user's login key; both keys sign that.

        Raises:
            LoginError: the old key is not the user's, or the new one is or was in use.
        """
        nonce = self._create_key_nonce(user_id)
        message = messages.key_rotation_message(user_id, new_key.public_key_hex, nonce)
        body = {
            "userId": user_id,
            "newPmcHex": new_key.public_key_hex,
            "nonce": nonce,
            "signatureHex": old_key.sign(message),
            "newSignatureHex": new_key.sign(message),
        }
        _require_success(self._post("/api/svd/rotate", body))

    def request_code(self, email: str) -> None:
        """Has a code mailed, in place of any that was mailed before.

        Raises:
            RateLimitedError: one was mailed a moment ago.
        """
        _require_success(self._post("/v1/auth/request-verification", {"identifier": email}))

    def submit_code(self, email: str, code: str) -> None:
        """Logs in with a mailed code. Each code is good for one login, and there is no renewal.

        Raises:
            CodeError: it is wrong, used or over.
        """
        reply = self._post("/v1/auth/submit-verification", {"identifier": email, "code": code})
        self._tokens.keep(_read_token(reply))

    def use_token(self, token: str) -> None:
        """Takes over a token that was obtained elsewhere."""
        if not _TOKEN.fullmatch(token):
            raise ValueError("this is no token")
        self._tokens.keep(Token(token))

    def current_token(self) -> str:
        """The token itself, for whoever has to hand it on.

        Raises:
            MissingCredentialsError: nobody is logged in.
        """
        return self._tokens.get().text

    def logout(self) -> None:
        """Has the service refuse the token from now on, and forgets it whatever comes of that.

        Raises:
            MissingCredentialsError: nobody is logged in.
        """
        call = Call("POST", "/v1/auth/logout", is_repeatable=True)
        try:
            _require_success(self._send_with_token(call))
        finally:
            self._tokens.forget()

    def _obtain_token(self, user_id: str, key: OwnerKey) -> Token:
        for _ in range(LOGIN_TRIES - 1):
            try:
                return self._complete(user_id, key)
            except (ChallengeError, NoAnswerError, UnusableChallengeError):
                # This challenge is over, or may be; a new one costs nothing.
                continue
        return self._complete(user_id, key)

    def _complete(self, user_id: str, key: OwnerKey) -> Token:
        begun = self._post("/api/svd/begin", {"userId": user_id}, is_repeatable=True).members
        challenge = begun.matching("M", _CHALLENGE, "48 hexadecimal characters")
        body = {
            "userId": user_id,
            "M": challenge,
            "signatureHex": svd.sign_challenge(key, bytes.fromhex(challenge)),
        }
        return _read_token(self._post("/api/svd/complete", body))

    def _create_key_nonce(self, user_id: str) -> str:
        path = "/api/svd/register-challenge"
        return self._post(path, {"userId": user_id}, is_repeatable=True).members.text("nonce")


def _read_token(reply: Reply) -> Token:
    return Token(reply.members.matching("token", _TOKEN, "a token"))


def _require_success(reply: Reply) -> None:
    # A proxy's page comes with status 200 as well.
    if not reply.members.boolean("success"):
        raise reply.unexpected("a success that says that it is none")
