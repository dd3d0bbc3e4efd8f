"""Certificates: what the stored evidence proves of a record, whatever an address says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from app import extensions
from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.headers import BlockHeader
from app.domain.certificates import (
    Certificate,
    CertificateReference,
    find_mismatches,
    fingerprint,
)
from app.domain.custody import BrokenLineError, CustodyLink, order_line
from app.domain.records import Piece
from app.domain.states import RecordStatus
from app.errors import (
    CertificateErasedError,
    CertificateMismatchError,
    CertificateNotFoundError,
    CertificatePendingError,
    CertificateRefusedError,
    InconsistentStateError,
    NotFoundError,
)
from app.models.record import AuthenticationRecord
from app.services import custody_lines, verification
from app.services.custody_lines import StoredLine

_PENDING_RETRY_SECONDS = 10
_PRODUCT_FIELDS = ("name", "category", "sku", "serial_number", "material")


def certify(reference: CertificateReference) -> Certificate:
    """Answers what is proven of the record that an address means.

    The patch may be compromised: `findings` says so.

    Raises:
        CertificateNotFoundError: no record has this head or txid.
        CertificatePendingError: the network has not accepted it yet.
        CertificateMismatchError: the address says of it what is not so.
        CertificateErasedError: whoever it was about had it erased.
        InconsistentStateError: what is stored contradicts itself.
    """
    record = _get_record(reference)
    if record.status != RecordStatus.CONFIRMED:
        raise CertificatePendingError(
            "the record is on its way to the chain; ask again in a little while",
            retry_after_seconds=_PENDING_RETRY_SECONDS,
        )
    stored = _load(record)
    certificate = _certificate(stored, record)
    mismatches = find_mismatches(reference, certificate)
    if mismatches:
        raise CertificateMismatchError(
            f"the record is another than the address says: {', '.join(mismatches)}",
            details=[{"field": name, "message": "is not what is proven"} for name in mismatches],
        )
    if Piece.OWNER in record.content.erased:
        raise CertificateErasedError(
            "the record was erased for the person it was about", current_head=stored.state.head
        )
    return certificate


def certify_for_print(reference: CertificateReference) -> Certificate:
    """The same for what can't be taken back: of a compromised patch there is none.

    Confirmations count up to FINAL_CONFIRMATIONS, so that it stays the same from then on.

    Raises:
        CertificateRefusedError: the patch is compromised.
        PatchProofError: see `certify`.
    """
    certificate = certify(reference)
    if not certificate.is_authentic:
        raise CertificateRefusedError("the patch is compromised: there is no certificate for it")
    enough = extensions.get().settings.final_confirmations
    return replace(certificate, confirmations=min(certificate.confirmations, enough))


def _get_record(reference: CertificateReference) -> AuthenticationRecord:
    by_head: AuthenticationRecord | None = AuthenticationRecord.objects(head=reference.name).first()
    if by_head is not None:
        return by_head
    sharing = AuthenticationRecord.list_sharing(reference.name, reference.metadata_sha256, limit=2)
    if len(sharing) == 1:
        return sharing[0]
    if sharing:
        raise CertificateNotFoundError(
            "several records share this transaction; each has an address of its own"
        )
    raise CertificateNotFoundError("no record is known by this transaction")


def _load(record: AuthenticationRecord) -> StoredLine:
    try:
        stored = custody_lines.load(record.uid_tag_id)
    except NotFoundError as error:
        raise InconsistentStateError("a confirmed record has no patch") from error
    if record.head not in stored.records or stored.state.head not in stored.records:
        raise InconsistentStateError("the patch's records can't be found")
    return stored


def _certificate(stored: StoredLine, record: AuthenticationRecord) -> Certificate:
    line = _order(stored)
    depth = stored.depth(record.head)
    return Certificate(
        uid_tag_id=record.uid_tag_id,
        product=tuple(
            (name, str(record.product[name]))
            for name in _PRODUCT_FIELDS
            if record.product.get(name)
        ),
        kind=record.content.kind,
        head=record.head,
        txid=record.txid,
        current_head=stored.state.head,
        metadata_sha256=record.metadata_sha256,
        network=extensions.get().settings.woc_network,
        registered_at=_moment(line[0].content.ts) if line else None,
        recorded_at=_moment(record.ts),
        mined_at=_mined_at(stored, record),
        owners=len(line) or None,
        block_height=depth.block_height,
        confirmations=depth.confirmations or 0,
        issuer_fingerprint=fingerprint(record.issuer_pubkey),
        findings=tuple(verification.find_problems(stored)),
        is_partly_erased=any(link.content.erased for link in stored.links()),
    )


def _order(stored: StoredLine) -> Sequence[CustodyLink]:
    try:
        return order_line(stored.links(), stored.state.head)
    except BrokenLineError:
        return ()


def _mined_at(stored: StoredLine, record: AuthenticationRecord) -> datetime | None:
    transaction = stored.transactions.get(record.transaction_id)
    if transaction is None or transaction.proof is None:
        return None
    try:
        header = BlockHeader.from_bytes(bytes(transaction.proof.block_header))
    except BitcoinFormatError:
        return None
    return datetime.fromtimestamp(header.timestamp, UTC)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
