"""What may come in over the wire: strict readers that refuse a request as a whole."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.keys import PublicKey
from signer.errors import (
    PurposeRefusedError,
    RequestRefusedError,
    TooLargeError,
    UnknownKeyError,
)
from signer.keyring import IDENTIFIER, KeyRing, SignerKey

MAX_BODY_BYTES = 1024 * 1024
MAX_ENTRIES = 2000
DIGEST_HEX = re.compile(r"[0-9a-fA-F]{64}")
CHALLENGE_HEX = re.compile(r"[0-9a-fA-F]{48}")
NAME_SHAPE = "1 to 128 letters, digits or . _ : / - and begin with a letter or digit"


@dataclass(frozen=True)
class SignEntry:
    """One digest to sign: the name of the key and 32 bytes in natural order."""

    key_identifier: str
    digest: bytes


@dataclass(frozen=True)
class DeriveRequest:
    """One login challenge (M, 24 bytes) and the client's public master key (PMC)."""

    challenge: bytes
    client_master_key: PublicKey


def read_sign_request(body: bytes) -> list[SignEntry]:
    """Read `{"requests": [{"keyIdentifier", "sighash"}, ...]}`.

    Raises RequestRefusedError that names the first entry at fault, TooLargeError over
    MAX_ENTRIES.
    """
    entries = _fields(_read_json(body), "The body", ("requests",))["requests"]
    if not isinstance(entries, list) or not entries:
        raise RequestRefusedError("requests must be a list with at least one entry.")
    if len(entries) > MAX_ENTRIES:
        raise TooLargeError(f"requests may hold at most {MAX_ENTRIES} entries.")
    return [_read_entry(entry, f"requests[{index}]") for index, entry in enumerate(entries)]


def read_derive_request(body: bytes) -> DeriveRequest:
    """Read `{"Mhex", "pmcHex"}`; the point must be compressed and on the curve."""
    fields = _fields(_read_json(body), "The body", ("Mhex", "pmcHex"))
    challenge_hex, key_hex = fields["Mhex"], fields["pmcHex"]
    if not _matches(CHALLENGE_HEX, challenge_hex):
        raise RequestRefusedError("Mhex must be 48 hexadecimal characters.")
    try:
        return DeriveRequest(bytes.fromhex(challenge_hex), PublicKey.from_hex(key_hex))
    except (BitcoinFormatError, TypeError):
        raise RequestRefusedError(
            "pmcHex must be a compressed public key on the curve, 66 hexadecimal characters."
        ) from None


def find_signing_keys(keyring: KeyRing, entries: Sequence[SignEntry]) -> list[SignerKey]:
    """Return the key of each entry, in order; one unknown or forbidden key refuses them all."""
    return [
        _find_signing_key(keyring, entry.key_identifier, f"requests[{index}].keyIdentifier")
        for index, entry in enumerate(entries)
    ]


def _find_signing_key(keyring: KeyRing, identifier: str, place: str) -> SignerKey:
    key = keyring.find(identifier)
    if key is None:
        raise UnknownKeyError(f"{place} names no key of this signer.")
    if not key.may_sign:
        raise PurposeRefusedError(f"{place} names a key that may not sign.")
    return key


def _read_entry(value: object, place: str) -> SignEntry:
    fields = _fields(value, place, ("keyIdentifier", "sighash"))
    identifier, sighash = fields["keyIdentifier"], fields["sighash"]
    if not _matches(IDENTIFIER, identifier):
        raise RequestRefusedError(f"{place}.keyIdentifier must have {NAME_SHAPE}.")
    if not _matches(DIGEST_HEX, sighash):
        raise RequestRefusedError(f"{place}.sighash must be 64 hexadecimal characters.")
    return SignEntry(identifier, bytes.fromhex(sighash))


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _fields(value: object, place: str, names: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestRefusedError(f"{place} must be a JSON object.")
    missing = [name for name in names if name not in value]
    if missing:
        raise RequestRefusedError(f"{place} lacks the field {missing[0]}.")
    if len(value) > len(names):
        allowed = " and ".join(names)
        raise RequestRefusedError(f"{place} has an unknown field: only {allowed} may be there.")
    return value


def _read_json(body: bytes) -> object:
    try:
        return json.loads(body, object_pairs_hook=_unique_members)
    except (ValueError, RecursionError):
        raise RequestRefusedError("The body is not valid JSON.") from None


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a member that comes twice: two readers could see two different digests."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members
