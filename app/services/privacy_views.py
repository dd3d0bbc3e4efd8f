"""An export and an erasure as their readers see them: the same for a route and for a command."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.domain.batch_tree import BatchPlace
from app.models.claim_intent import ClaimIntent
from app.models.key_proof import KeyProof
from app.models.record import AuthenticationRecord
from app.models.svd_key import ReplacedKey, SvdKey
from app.models.verification_code import VerificationCode
from app.services.erasure_reports import Report
from app.services.login_keys import BY_USER
from app.services.subject_exports import Export, HeldHandover, HeldRecord, OnChain

# What is about people and stands in no collection.
_ELSEWHERE = (
    {
        "where": "Redis",
        "what": "challenges of logins and nonces, with the user id; hashes of tokens that are over",
        "kept": "minutes; hashes until the token would have run out, a year at most",
    },
    {
        "where": "Redis",
        "what": "how often a user, an address of mail or a network has asked, under keyed hashes",
        "kept": "as long as a limit's window, a day at most",
    },
    {
        "where": "logs",
        "what": "user ids beside changes of login keys; no codes, no addresses of mail",
        "kept": "as long as the operator keeps logs",
    },
    {
        "where": "backups",
        "what": "what was in the database when they were made",
        "kept": "as long as the operator keeps them",
    },
)


def export_view(export: Export) -> dict[str, Any]:
    """A page of an export."""
    identity, code = export.identity, export.code_request
    return {
        "success": True,
        "subject": identity.subject.spelled,
        "exportedAt": _time(export.exported_at),
        "keys": [
            {"publicKey": k.public_key_hex, "address": k.address, "provenBy": k.proven_by.value}
            for k in identity.keys
        ],
        "loginKey": None if identity.login_key is None else _login_key(identity.login_key),
        "keyProofs": [_key_proof(proof) for proof in identity.proofs],
        "codeRequests": [] if code is None else [_code_request(code)],
        "claims": [_claim(claim) for claim in export.claims],
        "claimsNamingSubject": export.claims_naming,
        "records": [_record(held) for held in export.records],
        "handovers": [_handover(held) for held in export.handovers],
        "elsewhere": list(_ELSEWHERE),
        "nextCursor": export.next_cursor,
    }


def report_view(subject: str, report: Report) -> dict[str, Any]:
    """How an erasure stands."""
    return {
        "success": True,
        "subject": subject,
        "status": "waiting" if report.is_open else "done",
        "requestedAt": _time(report.requested_at),
        "finishedAt": _optional_time(report.finished_at),
        "erased": [
            {"what": each.what, "source": each.source, "count": each.count}
            for each in report.erased
        ],
        "remains": [
            {
                "what": each.what,
                "source": each.source,
                "count": each.count,
                "reason": each.reason,
                "isErasedLater": each.is_erased_later,
                "names": list(each.names),
            }
            for each in report.remains
        ],
    }


def _login_key(key: SvdKey) -> dict[str, Any]:
    return {
        "source": "svd_registry",
        "userId": key.user_id,
        "publicKey": key.public_key_hex,
        "registeredAt": _optional_time(key.registered_at),
        "isProven": bool(key.is_proven),
        "history": [_replaced_key(each) for each in key.history],
    }


def _replaced_key(key: ReplacedKey) -> dict[str, Any]:
    return {
        "publicKey": key.public_key_hex,
        "registeredAt": _optional_time(key.registered_at),
        "revokedAt": _optional_time(key.revoked_at),
        "replacedAt": _time(key.replaced_at),
        # Which operator is nobody's business but the operators'.
        "replacedBy": "user" if key.replaced_by == BY_USER else "operator",
    }


def _key_proof(proof: KeyProof) -> dict[str, Any]:
    return {
        "source": "key_proofs",
        "publicKey": proof.public_key_hex,
        "subject": proof.subject,
        "signature": proof.signature,
        "provenAt": _time(proof.proven_at),
    }


def _code_request(code: VerificationCode) -> dict[str, Any]:
    return {
        "source": "verification_codes",
        "identifier": code.identifier,
        "status": code.status,
        "requestedAt": _time(code.requested_at),
        "expiresAt": _time(code.expires_at),
        "attempts": code.attempts,
    }


def _claim(claim: ClaimIntent) -> dict[str, Any]:
    return {
        "source": "claim_intents",
        "id": str(claim.id),
        "uid_tag_id": claim.uid_tag_id,
        "address": claim.customer_address,
        "userId": claim.customer_user_id,
        "publicKey": claim.customer_public_key_hex,
        "nonce": claim.nonce,
        "ts": claim.ts,
        "signature": claim.signature,
        "status": claim.status,
        "createdAt": _time(claim.created_at),
        "recordId": None if claim.record_id is None else str(claim.record_id),
    }


def _record(held: HeldRecord) -> dict[str, Any]:
    record = held.record
    content = record.content
    is_signed = record.issuer_signature is not None
    return {
        **_common(record),
        "kind": record.kind,
        "confirmedAt": _optional_time(record.confirmed_at),
        "isPresentOwner": held.is_present_owner,
        "movedBy": content.moved_by.value,
        "owner": record.owner,
        "record": record.public_view() if is_signed else None,
        "digest": record.digest,
        "salt": None if record.salt is None else bytes(record.salt).hex(),
        "erased": sorted(content.erased),
        "onChain": None if held.chain is None else _on_chain(held.chain),
    }


def _handover(held: HeldHandover) -> dict[str, Any]:
    custody = held.record.custody
    return {
        **_common(held.record),
        "prevTxid": custody.prev_txid,
        "publicKey": custody.current_owner_pubkey,
        "signature": custody.current_owner_signature,
        "onChain": None if held.chain is None else _on_chain(held.chain),
    }


def _common(record: AuthenticationRecord) -> dict[str, Any]:
    return {
        "source": "authentication_records",
        "id": str(record.id),
        "uid_tag_id": record.uid_tag_id,
        "status": record.status,
        "createdAt": _time(record.created_at),
        "head": record.head,
    }


def _on_chain(chain: OnChain) -> Mapping[str, Any]:
    transaction = chain.transaction
    proof = transaction.proof
    return {
        "form": chain.form.value,
        "txid": transaction.txid,
        "rawTx": transaction.raw_tx_hex,
        "blockHash": None if proof is None else proof.block_hash,
        "blockHeight": None if proof is None else proof.block_height,
        "blockHeader": None if proof is None else bytes(proof.block_header).hex(),
        "merklePath": None if proof is None else bytes(proof.merkle_path).hex(),
        "batch": None if chain.place is None else _place(chain.place),
    }


def _place(place: BatchPlace) -> Mapping[str, Any]:
    return {
        "leafIndex": place.index,
        "leafCount": place.size,
        "merklePath": [sibling.hex() for sibling in place.siblings],
    }


def _time(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _optional_time(moment: datetime | None) -> str | None:
    return None if moment is None else _time(moment)
