"""Loads a patch's line of custody: a handful of queries, however long it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId

from app.domain.custody import CustodyLink
from app.domain.inclusion import Inclusion
from app.domain.older_records import OlderForm
from app.domain.states import RecordStatus
from app.errors import NotFoundError
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord
from app.models.setting import CHAIN_TIP, Setting
from app.models.transaction import ChainTransaction, TransactionKind


@dataclass(frozen=True)
class Depth:
    """Where a transaction stands on the chain; both are None while that is not known."""

    block_height: int | None
    confirmations: int | None


@dataclass(frozen=True)
class ErasedParts:
    """What somebody had erased of the record with this head, so that nobody can check it."""

    head: str
    pieces: Sequence[str]
    erased_at: datetime | None


@dataclass(frozen=True)
class StoredLine:
    """A patch's state, its confirmed records by head, and their transactions by id."""

    state: PatchState
    records: Mapping[str, AuthenticationRecord]
    transactions: Mapping[ObjectId, ChainTransaction]
    tip_height: int | None

    def links(self) -> list[CustodyLink]:
        """The records as evidence to be checked."""
        return [self._link(record) for record in self.records.values()]

    def depth(self, head: str) -> Depth:
        """How deep the record with this head is buried."""
        transaction = self.transactions.get(self.records[head].transaction_id)
        if transaction is None or transaction.proof is None:
            return Depth(None, None if transaction is None else 0)
        height = transaction.proof.block_height
        tip = max(self.tip_height or height, height)
        return Depth(height, tip - height + 1)

    def erasures(self, line: Sequence[CustodyLink]) -> list[ErasedParts]:
        """What was erased of the records of a line."""
        return [
            ErasedParts(link.head, sorted(link.content.erased), self.records[link.head].erased_at)
            for link in line
            if link.content.erased
        ]

    def _link(self, record: AuthenticationRecord) -> CustodyLink:
        transaction = self.transactions.get(record.transaction_id)
        return CustodyLink(
            head=record.head,
            content=record.content,
            salt=None if record.salt is None else bytes(record.salt),
            digest=record.digest,
            issuer_pubkey=record.issuer_pubkey,
            issuer_signature=record.issuer_signature,
            txid=record.txid,
            raw_tx=None if transaction is None else bytes(transaction.raw_tx),
            inclusion=None if transaction is None else _inclusion(transaction),
            place=None if record.batch is None else record.batch.place,
            older=_older(record, transaction),
        )


def _older(record: AuthenticationRecord, transaction: ChainTransaction | None) -> OlderForm | None:
    """How it was signed elsewhere; never honoured for what this service has sent."""
    is_imported = transaction is not None and transaction.kind == TransactionKind.IMPORTED
    return record.older.form if is_imported and record.older is not None else None


def _inclusion(transaction: ChainTransaction) -> Inclusion | None:
    proof = transaction.proof
    if proof is None:
        return None
    return Inclusion(
        block_hash=proof.block_hash,
        block_height=proof.block_height,
        merkle_path=bytes(proof.merkle_path),
        block_header=bytes(proof.block_header),
    )


def load(uid_tag_id: str) -> StoredLine:
    """Loads everything that is known of a patch, as it was at one moment.

    Raises:
        NotFoundError: no patch has this uid.
    """
    state, by_head = _load_records(uid_tag_id)
    return StoredLine(
        state=state,
        records=by_head,
        transactions=ChainTransaction.list_anchors(
            [record.transaction_id for record in by_head.values()]
        ),
        tip_height=Setting.find_value(CHAIN_TIP),
    )


def _load_records(uid_tag_id: str) -> tuple[PatchState, Mapping[str, AuthenticationRecord]]:
    state = _get_state(uid_tag_id)
    while True:
        confirmed = AuthenticationRecord.objects(
            uid_tag_id=uid_tag_id, status=RecordStatus.CONFIRMED.value
        )
        records = {record.id: record for record in confirmed}
        if state.record_id not in records:
            # Settlement moves the state first and confirms the record next.
            newest = AuthenticationRecord.objects(id=state.record_id).first()
            records |= {newest.id: newest} if newest is not None else {}
        latest = _get_state(uid_tag_id)
        if latest.head == state.head:
            return state, {record.head: record for record in records.values()}
        # The patch was handed on while its records were read.
        state = latest


def _get_state(uid_tag_id: str) -> PatchState:
    state = PatchState.find(uid_tag_id)
    if state is None:
        raise NotFoundError("no patch has this uid")
    return state
