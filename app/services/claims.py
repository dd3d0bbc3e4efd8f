"""Sales at the till: a customer claims a patch, the till approves, a transfer is anchored.

Approving is one compare-and-set on the claim, which fixes the id of its record; only then is the
record stored. One record with this id is stored, whoever comes first, and it decides how the claim
ends: where the patch was handed on by somebody else meanwhile it is stored as failed, and keeps the
place from whoever comes late. So a crash between the two writes, or a till that falls asleep there,
leaves an approved claim without a record, to which `settle_due` gives the record.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from bson import ObjectId

from app import extensions, logs
from app.domain.claims import Claim, approver_digest, is_timely
from app.domain.clock import unix_milliseconds, utc_now
from app.domain.messages import transfer_message
from app.domain.records import OwnerWord
from app.domain.states import ClaimStatus, RecordStatus
from app.errors import (
    ClaimExpiredError,
    ClaimNotPendingError,
    ClaimReplayedError,
    ClaimSignatureError,
    InvalidInputError,
    NotFoundError,
    OwnerSignatureRequiredError,
    PatchMovedError,
)
from app.models.claim_intent import ClaimIntent, DuplicateClaimError
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord, ClaimField, CustodyField
from app.services import submission, transfers

logger = logging.getLogger(__name__)

_LIMIT = 500
_LOOK_AGAIN = timedelta(seconds=30)
_MOVED = "the patch was handed on by somebody else; the customer has to claim it anew"
_END_OF_RECORD: Mapping[str, ClaimStatus] = MappingProxyType(
    {
        RecordStatus.CONFIRMED: ClaimStatus.CONFIRMED,
        RecordStatus.FAILED: ClaimStatus.FAILED,
    }
)


@dataclass(frozen=True)
class Approval:
    """An approved claim, the record that anchors it, and the task that was started for it."""

    claim_id: str
    pending_id: str
    job_id: str | None


@dataclass(frozen=True)
class ClaimStanding:
    """How far a claim is: `txid` is its transfer's head, `error` why it failed."""

    claim_id: str
    status: str
    txid: str | None
    error: str | None
    approved_by: str | None


@dataclass(frozen=True)
class SettleReport:
    """How many claims a round has ended, and to how many it gave their record."""

    expired: int
    confirmed: int
    failed: int
    mended: int


def create(claim: Claim, *, user_id: str) -> ClaimIntent:
    """Keeps a customer's claim until the till approves it; its parts are well formed already.

    Raises:
        InvalidInputError: its time is too far from now, or its address is not that of the key.
        ClaimSignatureError: the key did not sign it.
        NotFoundError: no patch has the uid.
        ClaimReplayedError: its nonce or its signature was used before.
    """
    now = utc_now()
    _check(claim, now)
    state = _get_state(claim.uid_tag_id)
    expires_at = now + timedelta(milliseconds=extensions.get().settings.claim_intent_ttl_ms)
    intent = ClaimIntent(
        uid_tag_id=claim.uid_tag_id,
        customer_address=claim.address,
        customer_user_id=user_id,
        customer_public_key_hex=claim.public_key_hex,
        nonce=claim.nonce,
        ts=claim.ts,
        signature=claim.signature_der_hex,
        head=state.head,
        expires_at=expires_at,
        next_attempt_at=expires_at,
        created_at=now,
        updated_at=now,
    )
    try:
        intent.insert()
    except DuplicateClaimError:
        raise _replayed() from None
    # Looked for when the claim is stored: were it erased later, its twin could not have been.
    if ClaimIntent.find_mark(claim.public_key_hex, claim.nonce, claim.signature_der_hex):
        ClaimIntent.withdraw(intent.id)
        raise _replayed()
    return intent


def approve(
    claim_id: str,
    *,
    approved_by: str,
    owner_public_key_hex: str | None = None,
    owner_signature: str | None = None,
) -> Approval:
    """Approves a pending claim in the name of a person and sets its transfer on its way.

    Key and signature are the present owner's word, well formed; both or none are given, none where
    the patch is the shop's.

    Raises:
        NotFoundError: no claim has this id, or its patch or the record of its head is missing.
        ClaimNotPendingError, ClaimExpiredError: it can't be approved any more.
        PatchMovedError: the patch was handed on since it was claimed, or is being handed on.
        OwnerSignatureRequiredError: the patch is not the shop's.
        NotOwnerError, OwnerSignatureError: it was somebody else who signed, or something else.
    """
    claim = _get(claim_id)
    _check_pending(claim)
    state = _get_state(claim.uid_tag_id)
    if state.head != claim.head or AuthenticationRecord.has_successor(claim.head):
        raise PatchMovedError(_MOVED)
    if not _find_heads([claim]):
        raise NotFoundError("the record of the patch's head is missing")
    _check_owner(claim, state, owner_public_key_hex, owner_signature)
    now = utc_now()
    if not ClaimIntent.approve(
        claim.id,
        now,
        approved_by=approved_by,
        approver_salt=os.urandom(16),
        previous_owner=state.owner,
        owner_public_key_hex=owner_public_key_hex,
        owner_signature=owner_signature,
        record_id=ObjectId(),
        request_id=logs.request_id.get(),
        next_attempt_at=now + _LOOK_AGAIN,
    ):
        _check_pending(_get(claim_id))
        raise ClaimNotPendingError("the claim was approved at the same time")
    return _carry_out(_get(claim_id))


def get_standing(claim_id: str) -> ClaimStanding:
    """Tells how far a claim is, by its record as soon as it has one.

    A claim whose time is over ends here, so that nobody can approve what was told to have expired.

    Raises:
        NotFoundError: no claim has this id.
    """
    claim = _get(claim_id)
    now = utc_now()
    if claim.is_overdue(now):
        ClaimIntent.expire(claim.id, now)
        claim = _get(claim_id)
    record = None
    if claim.record_id is not None:
        record = AuthenticationRecord.find_outcomes([claim.record_id]).get(claim.record_id)
    end = None if record is None else _END_OF_RECORD.get(record.status)
    return ClaimStanding(
        claim_id=str(claim.id),
        status=end or claim.status,
        txid=None if record is None or end != ClaimStatus.CONFIRMED else record.head,
        error=None if record is None or end != ClaimStatus.FAILED else record.reason,
        approved_by=claim.approved_by,
    )


def settle_due() -> SettleReport:
    """Brings claims whose time has come to their end, in a constant number of queries.

    Pending ones expire. Approved ones end as their records do; one without a record gets it now.
    """
    now = utc_now()
    expired = ClaimIntent.expire_due(now)
    due = ClaimIntent.list_approved_due(now, _LIMIT)
    records = AuthenticationRecord.find_outcomes([claim.record_id for claim in due])
    orphans = [claim for claim in due if claim.record_id not in records]
    if orphans:
        records |= _store_records(orphans, now)
    confirmed, failed = _finish(due, records)
    waiting = [claim.id for claim in due if not _is_ended(records.get(claim.record_id))]
    ClaimIntent.look_again(waiting, now + _LOOK_AGAIN)
    mended = sum(claim.record_id in records for claim in orphans)
    report = SettleReport(expired, confirmed, failed, mended)
    if any(asdict(report).values()):
        logger.info("claims settled", extra={"event": "claims.settled", **asdict(report)})
    return report


def _replayed() -> ClaimReplayedError:
    return ClaimReplayedError(
        "this nonce or this signature was used before; sign a claim with a new nonce"
    )


def _check(claim: Claim, now: datetime) -> None:
    settings = extensions.get().settings
    window_ms = settings.claim_intent_ttl_ms
    if not is_timely(claim.ts, unix_milliseconds(now), window_ms):
        raise InvalidInputError.for_field(
            "challenge.ts", f"must be within {window_ms} ms of now, in Unix milliseconds"
        )
    if not claim.is_of_key(settings.woc_network):
        raise InvalidInputError.for_field(
            "customer.address", "must be the address of customer.pubKey"
        )
    if not claim.is_signed():
        raise ClaimSignatureError("signature does not sign this claim with customer.pubKey")


def _get(claim_id: str) -> ClaimIntent:
    claim = ClaimIntent.find(claim_id)
    if claim is None:
        raise NotFoundError("no claim has this id")
    return claim


def _get_state(uid_tag_id: str) -> PatchState:
    state = PatchState.find(uid_tag_id)
    if state is None:
        raise NotFoundError("no patch has this uid")
    return state


def _check_pending(claim: ClaimIntent) -> None:
    now = utc_now()
    if claim.is_overdue(now):
        ClaimIntent.expire(claim.id, now)
        claim = _get(str(claim.id))
    if claim.status == ClaimStatus.EXPIRED:
        raise ClaimExpiredError("the claim has expired; the customer has to claim anew")
    if claim.status != ClaimStatus.PENDING:
        raise ClaimNotPendingError(f"the claim is not pending but {claim.status}")


def _check_owner(
    claim: ClaimIntent, state: PatchState, key: str | None, signature: str | None
) -> None:
    """A till moves what its shop holds; from anybody else it needs their signature."""
    if key is not None and signature is not None:
        word = OwnerWord(claim.head, key, signature)
        transfers.check_owner_word(word, state, claim.customer_address)
    elif state.owner not in extensions.get().settings.pos_shop_addresses:
        message = transfer_message(claim.uid_tag_id, claim.head, claim.customer_address).decode()
        raise OwnerSignatureRequiredError(
            "the patch does not belong to the shop: send its owner's currentOwnerPubKey and "
            "currentOwnerSignature",
            details=[
                {"field": "currentOwnerSignature", "message": f"must sign {message}"},
                {"field": "currentOwnerPubKey", "message": "must be the key of the owner"},
            ],
        )


def _carry_out(claim: ClaimIntent) -> Approval:
    record = _store_records([claim], submission.first_attempt_at())[claim.record_id]
    if record.status == RecordStatus.FAILED:
        _finish([claim], {record.id: record})
        raise PatchMovedError(record.reason)
    logger.info(
        "claim approved",
        extra={
            "event": "claim.approved",
            "claim_id": str(claim.id),
            "uid_tag_id": claim.uid_tag_id,
            "record_id": str(record.id),
        },
    )
    job_id = submission.set_off(record)
    _finish([claim], AuthenticationRecord.find_outcomes([record.id]))
    return Approval(str(claim.id), str(record.id), job_id)


def _store_records(
    claims: Sequence[ClaimIntent], next_attempt_at: datetime
) -> dict[ObjectId, AuthenticationRecord]:
    """Sees to it that approved claims have their records; answers those, by their ids.

    One whose patch has gone on without it gets a record that has failed.
    """
    heads = _find_heads(claims)
    made = [_build_record(claim, heads[claim.head]) for claim in claims if claim.head in heads]
    for record in made:
        record.next_attempt_at = next_attempt_at
    stored = {record.id for record in AuthenticationRecord.insert_all(made)}
    # Somebody has stored this very record, or one that continues the same head.
    left = [record for record in made if record.id not in stored]
    for record in left:
        record.refuse(_MOVED)
    AuthenticationRecord.insert_all(left)
    found = AuthenticationRecord.objects(id__in=[claim.record_id for claim in claims])
    return {record.id: record for record in found}


def _find_heads(claims: Sequence[ClaimIntent]) -> dict[str, AuthenticationRecord]:
    """The records that the claims continue, by their heads."""
    found = AuthenticationRecord.objects(head__in=[claim.head for claim in claims])
    return {record.head: record for record in found}


def _build_record(claim: ClaimIntent, current: AuthenticationRecord) -> AuthenticationRecord:
    record = transfers.build_record(
        current, claim.customer_address, _custody(claim), claim.approved_at
    )
    record.id = claim.record_id
    record.request_id = claim.request_id
    return record


def _custody(claim: ClaimIntent) -> CustodyField:
    has_word = claim.owner_signature is not None
    return CustodyField(
        prev_txid=claim.head,
        signed_txid=claim.head if has_word else None,
        current_owner_pubkey=claim.owner_public_key_hex,
        current_owner_signature=claim.owner_signature,
        claim=ClaimField(
            previous_owner=claim.previous_owner,
            approved_by=approver_digest(bytes(claim.approver_salt), claim.approved_by),
            public_key_hex=claim.customer_public_key_hex,
            signature=claim.signature,
            ts=claim.ts,
            nonce=claim.nonce,
        ),
    )


def _is_ended(record: AuthenticationRecord | None) -> bool:
    return record is not None and record.status in _END_OF_RECORD


def _finish(
    claims: Iterable[ClaimIntent], records: Mapping[ObjectId, AuthenticationRecord]
) -> tuple[int, int]:
    """Ends approved claims whose records have ended; answers how many were confirmed and failed."""
    confirmed: list[ObjectId] = []
    failed: dict[ObjectId, str] = {}
    for claim in claims:
        record = records.get(claim.record_id)
        if record is None:
            continue
        if record.status == RecordStatus.CONFIRMED:
            confirmed.append(claim.id)
        elif record.status == RecordStatus.FAILED:
            failed[claim.id] = record.reason
    return ClaimIntent.confirm_all(confirmed), ClaimIntent.fail_all(failed)
