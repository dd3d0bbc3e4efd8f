"""What is held about somebody, a page at a time: a dozen queries, however much there is.

It holds what is the subject's and nobody else's. Whom a patch came from stands in the subject's own
record, which could not be proven without it, and which `verify` shows to anyone. Whom they handed a
patch on to, and who stood at the till, does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId

from app.domain.batch_tree import BatchPlace
from app.domain.clock import utc_now
from app.domain.envelope import ChainForm, chain_form
from app.errors import InvalidInputError
from app.models.claim_intent import ClaimIntent
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction
from app.models.verification_code import VerificationCode
from app.services import subjects
from app.services.subjects import Identity, Subject

MAX_PAGE = 200
_FIRST = "0" * 24
_END = "-"


@dataclass(frozen=True)
class OnChain:
    """What the chain shows of a record, with all that proves it.

    `place` is where it stands in the batch that the transaction carries, if that is one.
    """

    form: ChainForm
    transaction: ChainTransaction
    place: BatchPlace | None


@dataclass(frozen=True)
class HeldRecord:
    """A record whose owner the subject is or was."""

    record: AuthenticationRecord
    is_present_owner: bool
    chain: OnChain | None


@dataclass(frozen=True)
class HeldHandover:
    """A transfer by which the subject handed a patch on."""

    record: AuthenticationRecord
    chain: OnChain | None


@dataclass(frozen=True)
class Export:
    """One page. `next_cursor` asks for the next; it is None on the last.

    `claims_naming` counts claims that name the subject's id, proven theirs or not.
    """

    identity: Identity
    exported_at: datetime
    code_request: VerificationCode | None
    claims_naming: int
    claims: Sequence[ClaimIntent]
    records: Sequence[HeldRecord]
    handovers: Sequence[HeldHandover]
    next_cursor: str | None


@dataclass(frozen=True)
class _Cursor:
    """The last claim and the last record that a page has shown; None where there are no more."""

    claim: ObjectId | None
    record: ObjectId | None

    @classmethod
    def parse(cls, text: str | None) -> _Cursor:
        parts = (text or f"{_FIRST}.{_FIRST}").split(".")
        if len(parts) != 2 or not all(part == _END or ObjectId.is_valid(part) for part in parts):
            raise InvalidInputError.for_field("cursor", "must be what the page before answered")
        claim, record = (None if part == _END else ObjectId(part) for part in parts)
        return cls(claim, record)

    def __str__(self) -> str:
        return ".".join(_END if each is None else str(each) for each in (self.claim, self.record))


def export(
    subject: Subject,
    *,
    cursor: str | None = None,
    limit: int = MAX_PAGE,
    even_revoked: bool = False,
) -> Export:
    """Collects a page of what is held about a subject: at most `limit` claims and records each.

    Raises:
        InvalidInputError: the cursor is none of ours.
        LoginKeyRevokedError: see `subjects.load`.
    """
    begin = _Cursor.parse(cursor)
    identity = subjects.load(subject, even_revoked=even_revoked)
    claims = _claims(identity, begin, limit)
    records = _records(identity, begin, limit)
    end = _Cursor(
        claims[-1].id if len(claims) == limit else None,
        records[-1].id if len(records) == limit else None,
    )
    held, handovers = _surround(records)
    return Export(
        identity=identity,
        exported_at=utc_now(),
        code_request=VerificationCode.find_by_identifier(subject.name),
        claims_naming=ClaimIntent.count_naming(subject.name),
        claims=claims,
        records=held,
        handovers=handovers,
        next_cursor=None if end == _Cursor(None, None) else str(end),
    )


def _claims(identity: Identity, begin: _Cursor, limit: int) -> list[ClaimIntent]:
    if begin.claim is None or not identity.keys:
        return []
    return ClaimIntent.list_of_keys(identity.public_keys, after=begin.claim, limit=limit)


def _records(identity: Identity, begin: _Cursor, limit: int) -> list[AuthenticationRecord]:
    if begin.record is None or not identity.keys:
        return []
    return AuthenticationRecord.list_owned(identity.addresses, after=begin.record, limit=limit)


def _surround(
    records: Sequence[AuthenticationRecord],
) -> tuple[list[HeldRecord], list[HeldHandover]]:
    """Adds where the records stand, and the transfers that the subject has signed."""
    states = PatchState.find_all({record.uid_tag_id for record in records})
    following = [
        record
        for record in AuthenticationRecord.list_following([r.head for r in records if r.head])
        if record.custody.current_owner_signature is not None
    ]
    anchors = ChainTransaction.list_anchors(
        [each.transaction_id for each in (*records, *following) if each.transaction_id]
    )
    held = [
        HeldRecord(record, _is_head(record, states), _on_chain(record, anchors))
        for record in records
    ]
    return held, [HeldHandover(record, _on_chain(record, anchors)) for record in following]


def _is_head(record: AuthenticationRecord, states: Mapping[str, PatchState]) -> bool:
    state = states.get(record.uid_tag_id)
    return state is not None and state.head == record.head


def _on_chain(
    record: AuthenticationRecord, anchors: Mapping[ObjectId, ChainTransaction]
) -> OnChain | None:
    transaction = anchors.get(record.transaction_id)
    if transaction is None or record.txid is None:
        return None
    place = None if record.batch is None else record.batch.place
    return OnChain(chain_form(bytes(transaction.raw_tx)), transaction, place)
