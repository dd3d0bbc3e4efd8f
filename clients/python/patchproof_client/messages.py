"""The messages that owners, customers and users sign, byte for byte as the service checks them."""

from __future__ import annotations

import json
import re

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def transfer_message(uid_tag_id: str, current_txid: str, new_owner_address: str) -> bytes:
    """What the owner signs to hand a patch on; the txid as it is written in the request."""
    return _stringify(
        {
            "purpose": "transfer_ownership",
            "uid_tag_id": uid_tag_id,
            "currentTxid": current_txid,
            "newOwnerAddress": new_owner_address,
        }
    )


def unlock_message(uid_tag_id: str, current_txid: str, nonce: str | None) -> bytes:
    """What the owner signs to unlock content once; a nonce is the last member.

    Without one it would unlock until the next transfer: services take that only where told to.
    """
    members = {
        "purpose": "unlock_content",
        "uid_tag_id": uid_tag_id,
        "currentTxid": current_txid,
    }
    if nonce is not None:
        members["nonce"] = nonce
    return _stringify(members)


def claim_message(uid: str, address: str, ts: int, nonce: str) -> bytes:
    """What a customer signs at the till; `ts` is Unix milliseconds.

    A lone surrogate, which UTF-8 can't carry, becomes U+FFFD.
    """
    text = f"PATCHPROOF_CLAIM|uid:{uid}|addr:{address}|ts:{ts}|nonce:{nonce}"
    return _LONE_SURROGATE.sub("\ufffd", text).encode()


def key_registration_message(user_id: str, public_key_hex: str, nonce: str) -> bytes:
    """What a login key signs to be registered, all three as in the request."""
    return _stringify(
        {
            "purpose": "register_svd_key",
            "userId": user_id,
            "pmcHex": public_key_hex,
            "nonce": nonce,
        }
    )


def key_rotation_message(user_id: str, new_public_key_hex: str, nonce: str) -> bytes:
    """What the old login key and the new one sign to change places, all three as in the request."""
    return _stringify(
        {
            "purpose": "rotate_svd_key",
            "userId": user_id,
            "newPmcHex": new_public_key_hex,
            "nonce": nonce,
        }
    )


def key_proof_message(subject: str, public_key_hex: str) -> bytes:
    """What a key signs to show that it is a subject's, as the token names them."""
    return _stringify(
        {"purpose": "prove_privacy_key", "subject": subject, "pubKey": public_key_hex}
    )


def _stringify(members: dict[str, str]) -> bytes:
    """The UTF-8 of what JSON.stringify makes of an object of strings.

    Python escapes the same characters the same way; only lone surrogates, which JSON.stringify
    writes as \\udxxx since ECMAScript 2019, need care.
    """
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()
