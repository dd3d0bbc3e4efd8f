"""Whom data is about: who a token names, and which keys have shown that they are theirs.

A name proves nothing about a key. A customer's id at the till is not part of what the customer
signs, so anyone can write somebody else's into a claim of their own; an owner's address is
somebody's only if its key is. A key is proven by a signature for this very subject, and by nothing
else: by a login, by a change of keys that both keys have signed, or by `privacy_keys`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app import extensions
from app.bitcoin.keys import PublicKey
from app.domain.clock import utc_now
from app.errors import LoginKeyRevokedError, TokenInvalidError
from app.models.key_proof import KeyProof
from app.models.svd_key import SvdKey

_PURPOSE = b"patchproof-subject"
_USER_ID = re.compile(r"[0-9a-f]{24}")
# Printable, and short enough for any user id and any address of mail.
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,254}")


class ProvenBy(StrEnum):
    """How a key was shown to be a subject's."""

    LOGIN = "login"
    ROTATION = "rotation"
    SIGNATURE = "signature"


@dataclass(frozen=True)
class Subject:
    """Somebody with a name, as a token spells it: a user id, or an address of mail.

    `logged_in_at` is in Unix seconds.
    """

    spelled: str
    logged_in_at: int

    @property
    def name(self) -> str:
        """The one spelling under which data is kept."""
        return self.spelled.strip().lower()

    @property
    def digest(self) -> str:
        return digest(self.spelled)

    @property
    def is_user_id(self) -> bool:
        return _USER_ID.fullmatch(self.name) is not None


@dataclass(frozen=True)
class ProvenKey:
    """A key that is a subject's, and the address that it owns patches with."""

    public_key_hex: str
    address: str
    proven_by: ProvenBy


@dataclass(frozen=True)
class Identity:
    """A subject with all that shows which data is theirs."""

    subject: Subject
    login_key: SvdKey | None
    proofs: Sequence[KeyProof]
    keys: Sequence[ProvenKey]

    @property
    def public_keys(self) -> list[str]:
        return [key.public_key_hex for key in self.keys]

    @property
    def addresses(self) -> list[str]:
        return [key.address for key in self.keys]


def digest(name: str) -> str:
    """What stands for a subject where the name must not: 64 hex characters, with a secret key."""
    secret = extensions.get().settings.master_secret.get_secret_value()
    message = b"\0".join((_PURPOSE, name.strip().lower().encode("utf-8", "surrogatepass")))
    return hmac.new(secret.encode("utf-8", "surrogatepass"), message, "sha256").hexdigest()


def issue_time(claims: Mapping[str, Any]) -> int:
    """When a verified token was issued, in Unix seconds; long ago where it does not say."""
    return int(claims.get("iat") or 0)


def of_token(claims: Mapping[str, Any]) -> Subject:
    """Whom a verified token names.

    Raises:
        TokenInvalidError: nobody, or nobody who can have data here.
    """
    name = claims.get("sub")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not name.strip():
        raise TokenInvalidError("the token's sub names nobody whose data could be held")
    return Subject(name, issue_time(claims))


def of_name(name: str) -> Subject:
    """Whom an operator vouches for: as good as somebody who logs in now."""
    return Subject(name, int(utc_now().timestamp()))


def load(subject: Subject, *, even_revoked: bool = False) -> Identity:
    """Finds the keys that are proven to be a subject's.

    Raises:
        LoginKeyRevokedError: their login key has been revoked since they logged in.
    """
    login_key = SvdKey.find(subject.name) if subject.is_user_id else None
    is_revoked = login_key is not None and login_key.revoked_at is not None
    if is_revoked and not even_revoked:
        raise LoginKeyRevokedError("this login's key has been revoked; ask the operator")
    proofs = KeyProof.list_of(subject.digest)
    proven: dict[str, ProvenBy] = {proof.public_key_hex: ProvenBy.SIGNATURE for proof in proofs}
    if login_key is not None:
        proven |= _login_keys(login_key, subject)
    return Identity(subject, login_key, proofs, [_key(*each) for each in proven.items()])


def addresses(public_keys: Sequence[str]) -> list[str]:
    """The addresses of keys on our network."""
    network = extensions.get().settings.woc_network
    return [PublicKey.from_hex(each).address(network) for each in public_keys]


def _login_keys(login_key: SvdKey, subject: Subject) -> dict[str, ProvenBy]:
    """The key that logs in, and those before it that have signed for this user."""
    proven = {
        each.public_key_hex: ProvenBy.ROTATION for each in login_key.history if each.is_proven
    }
    # An operator may have put another key there after the login.
    if login_key.is_proven or subject.logged_in_at >= int(login_key.registered_at.timestamp()):
        proven[login_key.public_key_hex] = ProvenBy.LOGIN
    return proven


def _key(public_key_hex: str, proven_by: ProvenBy) -> ProvenKey:
    return ProvenKey(public_key_hex, addresses([public_key_hex])[0], proven_by)
