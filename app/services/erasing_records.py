"""Which records an erasure may touch already, and what keeps it from the others.

Erased is only what nothing will move any more: a record that has ended, whose transaction is final,
and whose patch has gone on in another final one. Each page of records costs the same number of
queries, and what it erases is noted before, and done in an order that can be taken up anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bson import ObjectId

from app.domain.envelope import ChainForm, chain_form
from app.domain.states import RecordStatus, TransactionStatus
from app.models.claim_intent import ClaimIntent
from app.models.erasure import Erasure
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.transaction import ChainTransaction

_PAGE = 200


class What(StrEnum):
    """What an erasure has erased: the first part of its noted items."""

    LOGIN_KEY = "login_key"
    CODE_REQUEST = "code_request"
    KEY_PROOF = "key_proof"
    CLAIM = "claim"
    USER_ID_IN_CLAIM = "user_id_in_claim"
    RECORD = "record"
    HANDOVER = "handover"
    # Not erased: what the chain shows of these, for ever.
    ON_CHAIN_DIGEST = "on_chain_digest"
    ON_CHAIN_ROOT = "on_chain_root"
    ON_CHAIN_RECORD = "on_chain_record"

    def item(self, name: object) -> str:
        return f"{self.value}:{name}"


class Obstacle(StrEnum):
    """What keeps something from being erased now."""

    PRESENT_OWNER = "present_owner"
    BEING_HANDED_ON = "being_handed_on"
    NOT_FINAL = "not_final"
    UNDER_WAY = "under_way"
    CLAIM_UNDER_WAY = "claim_under_way"
    MORE = "more"
    LOGIN_KEY_CHANGED = "login_key_changed"

    @property
    def is_settling(self) -> bool:
        """Whether time alone ends it."""
        return self is not Obstacle.PRESENT_OWNER


@dataclass(frozen=True)
class Kept:
    """One thing that is still there, why, and its name: a patch's uid, a claim's id."""

    obstacle: Obstacle
    name: str


def erase(
    erasure: Erasure, addresses: Sequence[str], *, max_pages: int | None = None
) -> Iterator[Kept]:
    """Erases what may be of the records of these addresses; yields what may not yet, and why."""
    after, pages = None, 0
    while addresses:
        if pages == max_pages:
            yield Kept(Obstacle.MORE, str(after))
            return
        page = AuthenticationRecord.list_owned(addresses, after=after, limit=_PAGE)
        yield from _erase_page(
            erasure, [record for record in page if record.created_at <= erasure.requested_at]
        )
        if len(page) < _PAGE:
            return
        after, pages = page[-1].id, pages + 1


def _erase_page(erasure: Erasure, page: Sequence[AuthenticationRecord]) -> Iterator[Kept]:
    if not page:
        return
    around = _Surroundings.load(page)
    obstacles = {record.id: around.find_obstacle(record) for record in page}
    owners = [record for record in page if obstacles[record.id] is None]
    handovers = [each for each in around.following if around.has_ended(each)]
    erasure.note(list(around.items(owners, handovers)))
    # Whatever is found by the record is erased before the record.
    ClaimIntent.forget_owners_before([record.id for record in handovers])
    AuthenticationRecord.erase_handovers(handovers)
    ChainTransaction.forget_owners(
        (record.transaction_id, record.id) for record in owners if record.transaction_id
    )
    AuthenticationRecord.erase_owners(owners)
    for record in page:
        obstacle = obstacles[record.id]
        if obstacle is not None:
            yield Kept(obstacle, record.uid_tag_id)


@dataclass(frozen=True)
class _Surroundings:
    """What tells how far records are: the transfers that follow them, patches, transactions."""

    following: Sequence[AuthenticationRecord]
    live: Mapping[str, AuthenticationRecord]
    states: Mapping[str, PatchState]
    transactions: Mapping[ObjectId, ChainTransaction]

    @classmethod
    def load(cls, page: Sequence[AuthenticationRecord]) -> _Surroundings:
        following = AuthenticationRecord.list_following([r.head for r in page if r.head])
        records = [*page, *following]
        return cls(
            following=following,
            live={
                record.custody.prev_txid: record
                for record in following
                if record.status != RecordStatus.FAILED
            },
            states=PatchState.find_all({record.uid_tag_id for record in page}),
            transactions=ChainTransaction.list_anchors(
                [record.transaction_id for record in records if record.transaction_id]
            ),
        )

    def has_ended(self, record: AuthenticationRecord) -> bool:
        """Tells whether nothing moves the record any more."""
        if record.status == RecordStatus.FAILED:
            return True
        transaction = self.transactions.get(record.transaction_id)
        return (
            record.status == RecordStatus.CONFIRMED
            and transaction is not None
            and transaction.status == TransactionStatus.FINAL
        )

    def find_obstacle(self, record: AuthenticationRecord) -> Obstacle | None:
        """What keeps a record's owner from being erased, if anything does."""
        if record.status == RecordStatus.FAILED:
            return None
        if record.status != RecordStatus.CONFIRMED:
            return Obstacle.UNDER_WAY
        next_one = self.live.get(record.head)
        state = self.states.get(record.uid_tag_id)
        if state is None or state.head == record.head:
            return Obstacle.PRESENT_OWNER if next_one is None else Obstacle.BEING_HANDED_ON
        if next_one is None or not (self.has_ended(record) and self.has_ended(next_one)):
            return Obstacle.NOT_FINAL
        return None

    def items(
        self,
        owners: Sequence[AuthenticationRecord],
        handovers: Sequence[AuthenticationRecord],
    ) -> Iterator[str]:
        """The names under which all that is about to be erased is noted."""
        handed_on = [record for record in handovers if record.pieces_of_handover()]
        yield from (What.RECORD.item(record.id) for record in owners)
        yield from (What.HANDOVER.item(record.id) for record in handed_on)
        for record in (*owners, *handed_on):
            transaction = self.transactions.get(record.transaction_id)
            if transaction is not None:
                form = chain_form(bytes(transaction.raw_tx))
                yield _WHAT_OF_FORM[form].item(record.id)


_WHAT_OF_FORM = {
    ChainForm.SALTED_DIGEST: What.ON_CHAIN_DIGEST,
    ChainForm.BATCH_ROOT: What.ON_CHAIN_ROOT,
    ChainForm.IN_CLEAR: What.ON_CHAIN_RECORD,
}
