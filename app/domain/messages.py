"""The messages that issuers, owners and customers sign, byte for byte, and how one is checked."""

import json
import re

from app.bitcoin.hashes import sha256
from app.bitcoin.keys import PublicKey
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


def key_registration_message(user_id: str, public_key_hex: str, nonce: str) -> bytes:
    """Return what a user signs with a login key to register it, all three as sent."""
    return _stringify(
        {
            "purpose": "register_svd_key",
            "userId": user_id,
            "pmcHex": public_key_hex,
            "nonce": nonce,
        }
    )


def key_rotation_message(user_id: str, new_public_key_hex: str, nonce: str) -> bytes:
    """Return what a user signs with the old login key and with the new one, all three as sent."""
    return _stringify(
        {
            "purpose": "rotate_svd_key",
            "userId": user_id,
            "newPmcHex": new_public_key_hex,
            "nonce": nonce,
        }
    )


def key_proof_message(subject: str, public_key_hex: str) -> bytes:
    """Return what a key signs to show that it is a subject's, as the token's `sub` spells them."""
    return _stringify(
        {"purpose": "prove_privacy_key", "subject": subject, "pubKey": public_key_hex}
    )


def digest(message: bytes) -> bytes:
    """Return the one SHA-256 of a message, 32 bytes in natural order: what is signed."""
    return sha256(message)


def is_signed_by(public_key_hex: str, signature_der_hex: str, message: bytes) -> bool:
    """Tell whether a compressed key signed a message; both are hex, and may be anything."""
    try:
        signature = bytes.fromhex(signature_der_hex)
        return PublicKey.from_hex(public_key_hex).verify(signature, digest(message))
    except ValueError:
        return False
