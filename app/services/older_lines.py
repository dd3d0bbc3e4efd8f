"""The one line of each patch among an older system's records that the chain shows.

A record stands in it only where `verify` will say that it holds: the same checks decide.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bson import ObjectId

from app import extensions
from app.domain.canonical import sha256_hex
from app.domain.custody import CustodyLink, check_line
from app.domain.messages import transfer_message
from app.domain.older_records import OlderForm, find_order, is_signed
from app.domain.older_rows import OlderRecord, OlderRecordRow
from app.domain.records import Custody, OwnerWord, RecordContent, RecordKind


@dataclass(frozen=True)
class Shown:
    """A record that the chain shows, with all that a check of it takes."""

    row: OlderRecordRow
    record: OlderRecord
    txid: str
    raw_tx: bytes
    payload: bytes
    height: int
    form: OlderForm

    @property
    def content(self) -> RecordContent:
        record = self.record
        return RecordContent(
            kind=RecordKind.REGISTRATION if record.prev_txid is None else RecordKind.TRANSFER,
            product=dict(record.product),
            metadata=dict(record.metadata),
            metadata_sha256=sha256_hex(self.form.metadata_json.encode()),
            owner=record.owner,
            ts=record.ts,
            custody=None if record.prev_txid is None else _custody(record, record.prev_txid),
        )

    @property
    def link(self) -> CustodyLink:
        return CustodyLink(
            head=self.txid,
            content=self.content,
            salt=b"",
            digest=sha256_hex(self.payload),
            issuer_pubkey=self.record.issuer_pubkey,
            issuer_signature=self.record.issuer_signature,
            txid=self.txid,
            raw_tx=self.raw_tx,
            inclusion=None,
            older=self.form,
        )


def list_lines(shown: Sequence[Shown], reasons: dict[ObjectId, str]) -> Iterator[list[Shown]]:
    """Yields the line of each patch; of what stands in none the reason is noted."""
    by_uid: dict[str, list[Shown]] = defaultdict(list)
    for each in sorted(shown, key=lambda e: (e.height, e.row.id)):
        by_uid[each.record.uid_tag_id].append(each)
    for candidates in by_uid.values():
        line = _line(candidates, reasons)
        if line:
            yield line


def _line(candidates: Sequence[Shown], reasons: dict[ObjectId, str]) -> list[Shown]:
    line: list[Shown] = []
    waiting = list(candidates)
    while True:
        head = line[-1].txid if line else None
        following = [each for each in waiting if each.record.prev_txid == head]
        if not following:
            break
        before = len(line)
        for each in following:
            waiting.remove(each)
            reason = _find_problem(line, each) if len(line) == before else "another came before it"
            if isinstance(reason, str):
                reasons[each.row.id] = reason
            else:
                line.append(reason)
        if len(line) == before:
            break
    for each in waiting:
        reasons[each.row.id] = "what it continues is not in the line of its patch"
    return line


def _find_problem(line: Sequence[Shown], each: Shown) -> Shown | str:
    """The record in the form in which it holds, or why it does in none."""
    settings = extensions.get().settings
    record = each.record
    form = find_order(
        record.metadata,
        uid_tag_id=record.uid_tag_id,
        ts=line[0].record.ts if line else record.ts,
        issuer_pubkey=record.issuer_pubkey,
        issuer_signature=record.issuer_signature,
    )
    if form is None:
        return "the issuer's signature does not hold, in whatever order of metadata and bytes"
    formed = replace(each, form=replace(form, is_word_reversed=_is_word_reversed(record)))
    links = [*(known.link for known in line), formed.link]
    findings = check_line(links, settings.issuer_public_keys, settings.woc_network)
    return "; ".join(text.partition(": ")[2] for text in findings) or formed


def _is_word_reversed(record: OlderRecord) -> bool:
    if record.prev_txid is None or record.owner_pubkey is None or record.owner_signature is None:
        return False
    message = transfer_message(record.uid_tag_id, record.prev_txid, record.owner)
    return is_signed(record.owner_pubkey, record.owner_signature, message, is_reversed=True)


def _custody(record: OlderRecord, prev_txid: str) -> Custody:
    if record.owner_pubkey is None or record.owner_signature is None:
        return Custody(prev_txid, None)
    return Custody(prev_txid, OwnerWord(prev_txid, record.owner_pubkey, record.owner_signature))
