"""The messages that issuers, owners and customers sign, byte for byte."""

import json
import re

from app.bitcoin.hashes import sha256
from app.domain.canonical import canonical_json

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _stringify(members: dict[str, str]) -> bytes:
    """Return the UTF-8 of what JSON.stringify makes of an object of strings.

    Python escapes the same characters the same way; only lone surrogates, which JSON.stringify
    writes as \\udxxx since ECMAScript 2019, need care.
    """
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def registration_message(uid_tag_id: str, metadata_sha256: str, ts: int) -> bytes:
    """Return what the issuer signs to register a patch; `ts` is Unix milliseconds."""
    return canonical_json(
        {
            "purpose": "register_patch",
            "uid_tag_id": uid_tag_id,
            "metadata_sha256": metadata_sha256,
            "ts": ts,
        }
    )


def transfer_endorsement_message(
    uid_tag_id: str, metadata_sha256: str, prev_txid: str, owner: str, ts: int
) -> bytes:
    """Return what the issuer signs to record a transfer; `owner` is the new one's address."""
    return canonical_json(
        {
            "purpose": "transfer_patch",
            "uid_tag_id": uid_tag_id,
            "metadata_sha256": metadata_sha256,
            "prev_txid": prev_txid,
            "owner": owner,
            "ts": ts,
        }
    )


def transfer_message(uid_tag_id: str, current_txid: str, new_owner_address: str) -> bytes:
    """Return what the owner signs to hand a patch on; the txid as the client wrote it."""
    return _stringify(
        {
            "purpose": "transfer_ownership",
            "uid_tag_id": uid_tag_id,
            "currentTxid": current_txid,
            "newOwnerAddress": new_owner_address,
        }
    )


def unlock_message(uid_tag_id: str, current_txid: str, nonce: str | None) -> bytes:
    """Return what the owner signs to unlock content; a nonce is the last member."""
    members = {
        "purpose": "unlock_content",
        "uid_tag_id": uid_tag_id,
        "currentTxid": current_txid,
    }
    if nonce is not None:
        members["nonce"] = nonce
    return _stringify(members)


def claim_message(uid: str, address: str, ts: int, nonce: str) -> bytes:
    """Return what a customer signs at the point of sale; `ts` is Unix milliseconds.

    A lone surrogate, which UTF-8 can't carry, becomes U+FFFD as in the clients' encoders.
    """
    text = f"PATCHPROOF_CLAIM|uid:{uid}|addr:{address}|ts:{ts}|nonce:{nonce}"
    return _LONE_SURROGATE.sub("\ufffd", text).encode()


def digest(message: bytes) -> bytes:
    """Return the one SHA-256 of a message, 32 bytes in natural order: what is signed."""
    return sha256(message)
