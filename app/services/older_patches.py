"""Imports an older system's records: what the chain shows of them, and nothing on its word alone.

A record becomes a confirmed one when its transaction is in a block and shows it, a pinned issuer
has signed it, and it stands in the one line of its patch that leads from a registration on: checked
just as `verify` will check it. Every other one is kept as failed, with why: it can be asked for by
its id, holds no uid, and is never anchored.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from bson import ObjectId

from app import extensions
from app.clients.chain_types import ChainStatus
from app.clients.older_database import OlderDatabase
from app.clients.outcomes import UnexpectedAnswerError
from app.domain.canonical import sha256_hex
from app.domain.clock import utc_now
from app.domain.older_records import OlderForm, find_payload, spell
from app.domain.older_rows import (
    OlderRecord,
    OlderRecordRow,
    OlderRowError,
    read_payload,
    read_record_row,
    read_uid,
)
from app.domain.records import RecordKind
from app.domain.states import RecordStatus, TransactionStatus
from app.models.older import OlderField
from app.models.patch_state import PatchState
from app.models.record import AuthenticationRecord, CustodyField, transfer_key
from app.models.transaction import AnchoredField, ChainTransaction, TransactionKind
from app.services.older_lines import Shown, list_lines
from app.services.older_report import ImportReport, Outcome
from app.services.reshaping import OnProgress

_BATCH = 200
_ORDERS = (("record_data.product.uid_tag_id", "_id"), ("product.uid_tag_id", "_id"))


class PatchImport:
    """One run over the older records; `check` is asked before each batch of writes."""

    def __init__(self, collection: str, report: ImportReport, check: Callable[[], None]) -> None:
        self._collection = collection
        self._report = report
        self._check = check
        self._network = extensions.get().settings.woc_network

    def run(self, source: OlderDatabase, total: int, on_progress: OnProgress) -> None:
        """Imports patch by patch, many in a batch; what is there already is passed over."""
        done = 0
        for batch in _batches(source, self._collection):
            on_progress(self._collection, done, total)
            self._import(batch)
            done += len(batch)

    def _import(self, rows: Sequence[Mapping[str, Any]]) -> None:
        read = self._read(rows)
        known = AuthenticationRecord.find_states([row.id for row in read])
        confirmed = [i for i, status in known.items() if status == RecordStatus.CONFIRMED]
        taken = _list_taken(read)
        new: list[OlderRecordRow] = []
        for row in read:
            if row.record.uid_tag_id in taken:
                self._refuse(row, "this patch is registered here by another record")
            else:
                new.append(row)
        # Of a patch that is there as a whole the chain need not be asked again.
        open_uids = {r.record.uid_tag_id for r in new if r.id not in confirmed}
        there = [row for row in new if row.record.uid_tag_id not in open_uids]
        self._report.count(self._collection, Outcome.THERE_ALREADY, len(there))
        self._finish({row.record.uid_tag_id for row in there})
        left = [row for row in new if row.record.uid_tag_id in open_uids]
        shown, reasons = self._ask_chain(left)
        lines = list(list_lines(shown, reasons))
        self._store(lines, left, reasons, known)

    def _finish(self, uids: Collection[str]) -> None:
        """Sets the heads that a run which died in the middle has left out."""
        lines: dict[str, dict[str | None, AnchoredField]] = defaultdict(dict)
        for record in AuthenticationRecord.list_imported(uids):
            anchored = record.as_anchored()
            lines[record.uid_tag_id][anchored.prev_head] = anchored
        heads: dict[str, str | None] = dict.fromkeys(lines)
        while not self._report.is_dry_run and lines:
            steps = {uid: line.get(heads[uid]) for uid, line in lines.items()}
            PatchState.advance_each([step for step in steps.values() if step is not None])
            lines = {uid: lines[uid] for uid, step in steps.items() if step is not None}
            heads = {uid: step.head for uid, step in steps.items() if step is not None}

    def _read(self, rows: Iterable[Mapping[str, Any]]) -> list[OlderRecordRow]:
        read = []
        for row in rows:
            try:
                read.append(read_record_row(row, self._network))
            except OlderRowError as error:
                uid = read_uid(row)
                row_id = row.get("_id")
                self._report.note(self._collection, row_id, Outcome.REFUSED, str(error), uid)
        return read

    def _ask_chain(self, rows: Sequence[OlderRecordRow]) -> tuple[list[Shown], dict[ObjectId, str]]:
        """What the chain shows of rows, and why it shows nothing of the others.

        Rows whose transaction is not mined yet are in neither: a later run takes them.
        """
        reasons = {row.id: reason for row in rows if (reason := _find_reason(row)) is not None}
        asked = [row for row in rows if row.id not in reasons]
        chain = extensions.get().chain
        statuses = (
            chain.list_transaction_statuses({str(row.txid) for row in asked}) if asked else {}
        )
        shown: list[Shown] = []
        for row in asked:
            status = statuses.get(str(row.txid))
            if status is None:
                raise UnexpectedAnswerError(chain.name, "it does not say where each transaction is")
            if status.kind == "mempool":
                self._wait(row)
            elif status.kind == "unknown":
                reasons[row.id] = "the chain does not know its transaction"
            else:
                try:
                    shown.append(self._fetch(row, status))
                except OlderRowError as error:
                    reasons[row.id] = str(error)
        return shown, reasons

    def _fetch(self, row: OlderRecordRow, status: ChainStatus) -> Shown:
        txid = str(row.txid)
        raw_tx = bytes.fromhex(extensions.get().chain.find_raw_transaction(txid) or "")
        payload = find_payload(raw_tx)
        if payload is None:
            raise OlderRowError("its transaction holds no record of the older system")
        record = read_payload(payload, self._network)
        is_same = (record.uid_tag_id, record.issuer_signature, record.owner) == (
            row.record.uid_tag_id,
            row.record.issuer_signature,
            row.record.owner,
        )
        if not is_same:
            raise OlderRowError("its transaction holds another record")
        # How metadata stood when it was hashed: on the chain as it came, mostly.
        form = OlderForm(spell(record.metadata), record.ts)
        return Shown(row, record, txid, raw_tx, payload, status.block_height or 0, form)

    def _store(
        self,
        lines: Sequence[Sequence[Shown]],
        rows: Sequence[OlderRecordRow],
        reasons: Mapping[ObjectId, str],
        known: Mapping[ObjectId, str],
    ) -> None:
        standing = [each for line in lines for each in line]
        new = [each for each in standing if known.get(each.row.id) != RecordStatus.CONFIRMED]
        failed = [row for row in rows if row.id in reasons and row.id not in known]
        if not self._report.is_dry_run:
            self._check()
            ChainTransaction.insert_all([_transaction(each) for each in standing])
            # What an earlier run kept as failed the chain shows by now.
            AuthenticationRecord.forget_older([e.row.id for e in new if e.row.id in known])
            AuthenticationRecord.insert_all([_record(each) for each in new])
            AuthenticationRecord.insert_all([_failed(row, reasons[row.id]) for row in failed])
            for depth in range(max(map(len, lines), default=0)):
                PatchState.advance_each([_anchored(x[depth]) for x in lines if len(x) > depth])
        self._report.count(self._collection, Outcome.IMPORTED, len(new))
        self._report.count(self._collection, Outcome.THERE_ALREADY, len(standing) - len(new))
        for row in rows:
            if row.id in reasons:
                self._note(row, Outcome.KEPT_AS_FAILED, reasons[row.id])

    def _refuse(self, row: OlderRecordRow, reason: str) -> None:
        self._note(row, Outcome.REFUSED, reason)

    def _wait(self, row: OlderRecordRow) -> None:
        self._note(row, Outcome.WAITING, "its transaction is in no block yet; run this again")

    def _note(self, row: OlderRecordRow, outcome: Outcome, reason: str) -> None:
        self._report.note(self._collection, row.id, outcome, reason, row.record.uid_tag_id)


def _batches(source: OlderDatabase, collection: str) -> Iterator[list[Mapping[str, Any]]]:
    """Rows in batches of whole patches."""
    first = next(source.stream(collection), {})
    rows = source.stream(collection, _ORDERS[0 if "record_data" in first else 1])
    batch: list[Mapping[str, Any]] = []
    for _, group in groupby(rows, key=read_uid):
        batch += group
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _list_taken(rows: Sequence[OlderRecordRow]) -> set[str]:
    """Patches whose registration here is none of these rows."""
    ids = {row.id for row in rows}
    keys = sorted({f"reg:{row.record.uid_tag_id}" for row in rows})
    found = AuthenticationRecord.objects(active_key__in=keys).scalar("id", "uid_tag_id")
    return {uid for record_id, uid in found if record_id not in ids} if keys else set()


def _find_reason(row: OlderRecordRow) -> str | None:
    if row.txid is not None:
        return None
    if row.is_batched:
        return "it was anchored in a batch, whose path does not tell left from right"
    return f"it was {row.status} and has no transaction"


def _transaction(each: Shown) -> ChainTransaction:
    now = utc_now()
    return ChainTransaction(
        id=_transaction_id(each.txid),
        kind=TransactionKind.IMPORTED.value,
        status=TransactionStatus.ACCEPTED.value,
        txid=each.txid,
        raw_tx=each.raw_tx,
        records=[_anchored(each)],
        fee_satoshis=0,
        size_bytes=len(each.raw_tx),
        # Tracking fetches the proof that it is in its block.
        next_attempt_at=now,
        settled_at=now,
        accepted_at=now,
    )


def _transaction_id(txid: str) -> ObjectId:
    """The same whenever it is imported."""
    return ObjectId(hashlib.sha256(txid.encode()).hexdigest()[:24])


def _anchored(each: Shown) -> AnchoredField:
    return AnchoredField(
        record_id=each.row.id,
        kind=each.content.kind.value,
        uid_tag_id=each.record.uid_tag_id,
        owner=each.record.owner,
        prev_head=each.record.prev_txid,
        head=each.txid,
        digest=sha256_hex(each.payload),
        issuer_pubkey=each.record.issuer_pubkey,
        issuer_signature=each.record.issuer_signature,
    )


def _record(each: Shown) -> AuthenticationRecord:
    content, previous = each.content, each.record.prev_txid
    return AuthenticationRecord(
        **_common(each.row, each.record),
        kind=content.kind.value,
        status=RecordStatus.CONFIRMED.value,
        metadata_sha256=content.metadata_sha256,
        custody=None if previous is None else _custody_field(each.record, previous),
        issuer_pubkey=each.record.issuer_pubkey,
        issuer_signature=each.record.issuer_signature,
        digest=sha256_hex(each.payload),
        head=each.txid,
        txid=each.txid,
        active_key=f"reg:{content.uid_tag_id}" if previous is None else transfer_key(previous),
        transaction_id=_transaction_id(each.txid),
        confirmed_at=each.row.updated_at or utc_now(),
        older=OlderField(
            status=each.row.status,
            txid=each.row.txid,
            metadata_json=each.form.metadata_json,
            endorsed_ts=each.form.endorsed_ts,
            is_reversed=each.form.is_reversed,
            is_word_reversed=each.form.is_word_reversed,
        ),
    )


def _failed(row: OlderRecordRow, reason: str) -> AuthenticationRecord:
    record = row.record
    is_transfer = record.prev_txid is not None
    return AuthenticationRecord(
        **_common(row, record),
        kind=(RecordKind.TRANSFER if is_transfer else RecordKind.REGISTRATION).value,
        status=RecordStatus.FAILED.value,
        metadata_sha256=sha256_hex(spell(record.metadata).encode()),
        custody=_custody_field(record, record.prev_txid) if record.prev_txid else None,
        reason=f"imported from the older system, not confirmed: {reason}",
        older=OlderField(status=row.status, txid=row.txid),
    )


def _common(row: OlderRecordRow, record: OlderRecord) -> dict[str, Any]:
    return {
        "id": row.id,
        "uid_tag_id": record.uid_tag_id,
        "product": dict(record.product),
        "metadata": dict(record.metadata),
        "owner": record.owner,
        "ts": record.ts,
        # Its digest is over what the chain shows, in clear.
        "salt": b"",
        "created_at": row.created_at or row.id.generation_time,
        "updated_at": utc_now(),
    }


def _custody_field(record: OlderRecord, prev_txid: str) -> CustodyField:
    if record.owner_pubkey is None or record.owner_signature is None:
        return CustodyField(prev_txid=prev_txid)
    return CustodyField(
        prev_txid=prev_txid,
        signed_txid=prev_txid,
        current_owner_pubkey=record.owner_pubkey,
        current_owner_signature=record.owner_signature,
    )
