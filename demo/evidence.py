"""Compares what the API says of a record with what its transaction says on the chain."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.interpreter import verify_input_scripts
from app.bitcoin.keys import PublicKey
from app.bitcoin.transactions import Transaction
from app.domain.canonical import canonical_json, sha256_hex
from app.domain.envelope import Envelope, InvalidEnvelopeError, Kind
from app.domain.messages import digest, registration_message, transfer_endorsement_message
from demo.chain import OnChain
from demo.errors import DemoError
from patchproof_client import Verification

_DIGEST = re.compile("[0-9a-f]{64}")


def check(answer: Verification, on_chain: OnChain, issuer_keys: Collection[str]) -> None:
    """Proves the current record of a patch from its transaction, fetched from the chain.

    The scripts are run, the envelope is compared with the record, the issuer's signature in it is
    verified over the record's own members. Raises DemoError with what does not hold.
    """
    uid = answer.record["product"]["uid_tag_id"]
    if on_chain.transaction.txid != answer.details.txid:
        raise DemoError(f"{uid}: the chain's transaction is not the one that verify names")
    if on_chain.block_height != answer.details.block_height:
        raise DemoError(
            f"{uid}: verify says block {answer.details.block_height}, "
            f"the chain says {on_chain.block_height}"
        )
    # Raises for itself, with the words of a node.
    verify_input_scripts(on_chain.transaction)
    envelope = _find_envelope(on_chain.transaction)
    if problem := _find_problem(envelope, answer, issuer_keys):
        raise DemoError(f"{uid}: {problem} (transaction {answer.details.txid})")


def _find_envelope(transaction: Transaction) -> Envelope:
    envelopes = []
    for output in transaction.outputs:
        try:
            envelopes.append(Envelope.from_locking_script(output.locking_script))
        except (BitcoinFormatError, InvalidEnvelopeError):
            continue
        if output.satoshis:
            raise DemoError(f"{transaction.txid} locks {output.satoshis} satoshis for ever")
    if len(envelopes) != 1:
        raise DemoError(f"{transaction.txid} carries {len(envelopes)} envelopes instead of one")
    return envelopes[0]


def _find_problem(
    envelope: Envelope, answer: Verification, issuer_keys: Collection[str]
) -> str | None:
    record, auth = answer.record, answer.record["auth"]
    kind = Kind.TRANSFER if "prev_txid" in auth else Kind.REGISTRATION
    if envelope.kind is not kind:
        return f"the envelope says {envelope.kind}, the record is a {kind}"
    if sha256_hex(canonical_json(record["metadata"])) != answer.metadata_sha256:
        return "metadata_sha256 is not the hash of the metadata"
    if auth["issuer_pubkey"] not in issuer_keys:
        return "the issuer's key is not a pinned one"
    if not _is_signed(record, answer.metadata_sha256):
        return "the issuer did not sign this record"
    if envelope.payload != canonical_json(record) and not _commits(envelope.payload, auth):
        return "the envelope does not carry this record"
    return None


def _is_signed(record: Mapping[str, Any], metadata_sha256: str) -> bool:
    auth, uid = record["auth"], record["product"]["uid_tag_id"]
    if "prev_txid" in auth:
        message = transfer_endorsement_message(
            uid, metadata_sha256, auth["prev_txid"], auth["owner"], auth["ts"]
        )
    else:
        message = registration_message(uid, metadata_sha256, auth["ts"])
    key = PublicKey.from_hex(auth["issuer_pubkey"])
    return key.verify(bytes.fromhex(auth["issuer_signature"]), digest(message))


def _commits(payload: bytes, auth: dict[str, Any]) -> bool:
    """Whether a commitment is this record's; its digest is salted and only its shape is public."""
    members = json.loads(payload)
    committed = str(members.pop("digest", ""))
    expected = {name: auth[name] for name in ("issuer_pubkey", "issuer_signature")}
    if "prev_txid" in auth:
        expected["prev_txid"] = auth["prev_txid"]
    return bool(_DIGEST.fullmatch(committed)) and members == expected
