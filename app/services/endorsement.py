"""The issuer's signature on records: one call to the signer for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app import extensions
from app.bitcoin.transactions import TxOutput
from app.clients.kms import KmsSignature, SignRequest
from app.config import OnchainPayload
from app.domain.canonical import canonical_json
from app.domain.envelope import Envelope, Kind, commitment_payload, record_digest
from app.domain.messages import digest
from app.domain.records import RecordContent
from app.errors import SignerUnavailableError
from app.models.record import AuthenticationRecord

# The longest strict low-S DER signature and a compressed key, in hex.
_LONGEST_SIGNATURE = "00" * 71
_ANY_PUBLIC_KEY = "00" * 33


@dataclass(frozen=True)
class Endorsement:
    """The issuer's word for a record, and what of it goes on the chain."""

    issuer_pubkey: str
    issuer_signature: str
    digest: str
    output: TxOutput


def endorse(records: Sequence[AuthenticationRecord]) -> list[Endorsement]:
    """Has the issuer's key sign each record; answers in order.

    Raises:
        SignerUnavailableError: the signer used a key that is not pinned in ISSUER_PUBLIC_KEYS.
        ServiceUnavailableError, KmsRefusedError: the signer did not sign; nothing is used.
    """
    current = extensions.get()
    issuer = current.settings.issuer_key_identifier
    contents = [record.content for record in records]
    signatures = current.kms.sign(
        [SignRequest(issuer, digest(content.endorsement_message())) for content in contents]
    )
    return [
        _endorsement(content, bytes(record.salt), signature)
        for record, content, signature in zip(records, contents, signatures, strict=True)
    ]


def check_writable(content: RecordContent) -> None:
    """Checks that the issuer can sign the record and a digest can cover it.

    Raises:
        NotCanonicalError: it has no canonical form, so nobody ever could.
    """
    content.endorsement_message()
    record_digest(b"", content.public_view(_ANY_PUBLIC_KEY, _LONGEST_SIGNATURE))


def largest_output(content: RecordContent, payload: OnchainPayload) -> TxOutput:
    """The data output at its largest, for choosing inputs before the issuer has signed.

    Raises:
        NotCanonicalError: the record has no canonical form, so nobody could ever sign it.
    """
    check_writable(content)
    return _output(content, "00" * 32, _ANY_PUBLIC_KEY, _LONGEST_SIGNATURE, payload)


def _endorsement(content: RecordContent, salt: bytes, signature: KmsSignature) -> Endorsement:
    settings = extensions.get().settings
    public_key = signature.public_key.to_hex()
    if public_key not in {pinned.lower() for pinned in settings.issuer_public_keys}:
        raise SignerUnavailableError(
            "the signer's issuer key is not one of ISSUER_PUBLIC_KEYS; an operator has to act"
        )
    signature_hex = signature.signature_der.hex()
    record_hash = record_digest(salt, content.public_view(public_key, signature_hex))
    output = _output(content, record_hash, public_key, signature_hex, settings.onchain_payload)
    return Endorsement(public_key, signature_hex, record_hash, output)


def _output(
    content: RecordContent,
    record_hash: str,
    public_key: str,
    signature_hex: str,
    payload: OnchainPayload,
) -> TxOutput:
    if payload is OnchainPayload.RECORD:
        body = canonical_json(content.public_view(public_key, signature_hex))
    else:
        previous = content.custody.prev_txid if content.custody else None
        body = commitment_payload(record_hash, public_key, signature_hex, previous)
    return TxOutput(0, Envelope(Kind(content.kind.value), body).to_locking_script())
