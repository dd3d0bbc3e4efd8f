"""Tells whether a patch is authentic: its whole line of custody, against pinned keys."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app import extensions
from app.domain.batch_tree import BatchPlace
from app.domain.custody import BrokenLineError, CustodyLink, check_line, is_endorsed, order_line
from app.errors import InconsistentStateError
from app.services import custody_lines
from app.services.custody_lines import ErasedParts, StoredLine

logger = logging.getLogger(__name__)

AUTHENTIC = "authentic"
COMPROMISED = "compromised"


@dataclass(frozen=True)
class BatchProof:
    """How a record's head, its digest, leads to the merkle root that the chain shows.

    `merkle_root` is None where it leads to none; `findings` say so too.
    """

    merkle_root: bytes | None
    place: BatchPlace


@dataclass(frozen=True)
class Verification:
    """What a reader learns of a patch; `findings` says what is wrong with a compromised one.

    `head` names the record, `anchor_txid` the transaction that carries it, alone or in a `batch`.
    `moved_by` is on whose word its owner got it. `erased` says what of the line was erased for the
    people in it and so could not be checked; all else was.
    """

    status: str
    record: dict[str, Any]
    issuer_signature_valid: bool
    moved_by: str
    head: str
    anchor_txid: str
    batch: BatchProof | None
    metadata_sha256: str
    block_height: int | None
    confirmations: int | None
    findings: Sequence[str]
    erased: Sequence[ErasedParts]


def verify(uid_tag_id: str) -> Verification:
    """Verifies a patch by its uid.

    Raises:
        NotFoundError: no patch has this uid.
        InconsistentStateError: its head names no confirmed record.
    """
    stored = custody_lines.load(uid_tag_id)
    head = stored.state.head
    current = stored.records.get(head)
    if current is None:
        raise InconsistentStateError("the patch's current record can't be found")
    findings = find_problems(stored)
    links = stored.links()
    depth = stored.depth(head)
    newest = next(link for link in links if link.head == head)
    return Verification(
        status=COMPROMISED if findings else AUTHENTIC,
        record=current.public_view(),
        issuer_signature_valid=is_endorsed(newest, extensions.get().settings.issuer_public_keys),
        moved_by=newest.content.moved_by,
        head=head,
        anchor_txid=current.txid,
        batch=_batch_proof(newest),
        metadata_sha256=current.metadata_sha256,
        block_height=depth.block_height,
        confirmations=depth.confirmations,
        findings=findings,
        erased=stored.erasures(links),
    )


def _batch_proof(link: CustodyLink) -> BatchProof | None:
    if link.place is None:
        return None
    try:
        return BatchProof(link.place.root(bytes.fromhex(link.digest)), link.place)
    except ValueError:
        return BatchProof(None, link.place)


def find_problems(stored: StoredLine) -> list[str]:
    """Answers what is wrong with a patch whose current record is there; nothing where all is right.

    It is logged too.
    """
    settings = extensions.get().settings
    head, uid_tag_id = stored.state.head, stored.state.uid_tag_id
    try:
        line = order_line(stored.links(), head)
        findings = check_line(line, settings.issuer_public_keys, settings.woc_network)
    except BrokenLineError as error:
        findings = [str(error)]
    if stored.records[head].owner != stored.state.owner:
        findings.append("the patch's owner is not the one that its current record names")
    if findings:
        logger.warning(
            "patch compromised",
            extra={"event": "verify.compromised", "uid_tag_id": uid_tag_id, "findings": findings},
        )
    return findings
