"""Checks a line of custody from the evidence that was kept, without trusting who kept it.

What was erased of a record can't be checked: its digest, and whatever the erased parts prove. All
that is left is held against the chain as ever, and so is every other record of the line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.bitcoin.addresses import Network
from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.keys import PublicKey
from app.bitcoin.transactions import Transaction
from app.domain import older_records
from app.domain.batch_tree import BatchPlace
from app.domain.canonical import canonical_json, sha256_hex
from app.domain.claims import Claim
from app.domain.envelope import (
    Envelope,
    InvalidEnvelopeError,
    Kind,
    batch_payload,
    commitment_payload,
    record_digest,
)
from app.domain.inclusion import Inclusion, find_inclusion_problem
from app.domain.messages import is_signed_by, transfer_message
from app.domain.older_records import OlderForm
from app.domain.records import (
    Custody,
    OwnerWord,
    Piece,
    PosClaim,
    RecordContent,
    RecordKind,
    without,
)

_NOT_SIGNED_OVER = "the owner before did not sign it over"


class BrokenLineError(ValueError):
    """The records do not form one line from a registration to the head."""


@dataclass(frozen=True)
class CustodyLink:
    """One record of the line with the transaction that anchors it, as they are stored.

    `inclusion` is None while the transaction is not mined, `salt` where something was erased.
    `place` is where it stands in the batch that the transaction carries, None where that carries it
    alone. `older` is set where an older system made it, and the transaction is an imported one.
    """

    head: str
    content: RecordContent
    salt: bytes | None
    digest: str
    issuer_pubkey: str
    issuer_signature: str
    txid: str
    raw_tx: bytes | None
    inclusion: Inclusion | None
    place: BatchPlace | None = None
    older: OlderForm | None = None

    @property
    def prev_head(self) -> str | None:
        return self.content.custody.prev_txid if self.content.custody else None


def order_line(links: Iterable[CustodyLink], head: str) -> list[CustodyLink]:
    """Orders records from the registration to `head` by what each says it continues.

    Raises:
        BrokenLineError: one is missing, one is left over, or the line runs in a circle.
    """
    by_head = {link.head: link for link in links}
    line: list[CustodyLink] = []
    cursor: str | None = head
    while cursor is not None:
        link = by_head.pop(cursor, None)
        if link is None:
            raise BrokenLineError(f"the line of custody has no record {cursor}")
        line.append(link)
        cursor = link.prev_head
    if by_head:
        raise BrokenLineError("confirmed records stand outside the line of custody")
    if line[-1].content.kind is not RecordKind.REGISTRATION:
        raise BrokenLineError("the line of custody does not begin with a registration")
    return line[::-1]


def is_endorsed(link: CustodyLink, issuer_keys: Iterable[str]) -> bool:
    """Tells whether one of the pinned issuer keys, compressed hex, signed this record.

    It can't be told of a transfer whose owner was erased, but for one of the older system.
    """
    if link.older is not None:
        return _names_pinned_key(link, issuer_keys) and older_records.is_endorsed(
            link.content, link.older, link.issuer_pubkey, link.issuer_signature
        )
    if link.content.is_endorsement_erased:
        return False
    return _names_pinned_key(link, issuer_keys) and is_signed_by(
        link.issuer_pubkey, link.issuer_signature, link.content.endorsement_message()
    )


def _names_pinned_key(link: CustodyLink, issuer_keys: Iterable[str]) -> bool:
    return link.issuer_pubkey in {key.lower() for key in issuer_keys}


def check_line(
    line: Sequence[CustodyLink], issuer_keys: Iterable[str], network: Network
) -> list[str]:
    """Checks every record of an ordered line; answers what is wrong, nothing where all is right."""
    keys = list(issuer_keys)
    findings: list[str] = []
    previous: CustodyLink | None = None
    for link in line:
        findings.extend(
            f"{link.head}: {problem}" for problem in _check(link, previous, keys, network)
        )
        previous = link
    findings.extend(f"{head}: its claim was used before" for head in _repeated_claims(line))
    return findings


def _check(
    link: CustodyLink, previous: CustodyLink | None, keys: Sequence[str], network: Network
) -> Iterable[str]:
    if link.older is not None:
        yield from _check_older(link, link.older, previous, keys)
    else:
        yield from _check_ours(link, keys)
    if link.inclusion is not None:
        problem = find_inclusion_problem(link.txid, link.inclusion, network)
        if problem is not None:
            yield f"its transaction is not proven to be mined: {problem}"
    if previous is not None:
        yield from _check_handover(link, previous, network)


def _check_older(
    link: CustodyLink, form: OlderForm, previous: CustodyLink | None, keys: Sequence[str]
) -> Iterable[str]:
    if not _names_pinned_key(link, keys) or link.head != link.txid:
        yield "no pinned issuer key signed it"
    # One signature, over the registration, serves the whole line of the older system.
    before = form if previous is None else previous.older
    if before is None or before.endorsed_ts != form.endorsed_ts:
        yield "its time is not what was signed"
    yield from older_records.find_problems(
        link.content,
        form,
        record_digest=link.digest,
        issuer_pubkey=link.issuer_pubkey,
        issuer_signature=link.issuer_signature,
        txid=link.txid,
        raw_tx=link.raw_tx,
    )


def _check_ours(link: CustodyLink, keys: Sequence[str]) -> Iterable[str]:
    content = link.content
    # Without what the issuer signed the signature is held against the chain only.
    is_signed = _names_pinned_key if content.is_endorsement_erased else is_endorsed
    if not is_signed(link, keys):
        yield "no pinned issuer key signed it"
    if sha256_hex(canonical_json(content.metadata)) != content.metadata_sha256:
        yield "its metadata is not what was signed"
    public_view = content.public_view(link.issuer_pubkey, link.issuer_signature)
    if not content.erased and record_digest(link.salt or b"", public_view) != link.digest:
        yield "its digest is not that of the record"
    if not _is_anchored(link):
        yield "its transaction does not carry it"


def _is_anchored(link: CustodyLink) -> bool:
    if link.raw_tx is None:
        return False
    try:
        transaction = Transaction.from_bytes(link.raw_tx)
        envelopes = [
            Envelope.from_locking_script(output.locking_script)
            for output in transaction.outputs
            if output.locking_script.startswith(b"\x00\x6a")
        ]
    except (BitcoinFormatError, InvalidEnvelopeError):
        return False
    if transaction.txid != link.txid:
        return False
    if link.place is not None:
        return _is_in_batch(link, link.place, envelopes)
    return link.txid == link.head and any(
        envelope.kind is Kind(link.content.kind.value) and _is_carried(link, envelope.payload)
        for envelope in envelopes
    )


def _is_in_batch(link: CustodyLink, place: BatchPlace, envelopes: Sequence[Envelope]) -> bool:
    """Tells whether the path leads from the record's digest, its head, to the root on the chain.

    Batches hold registrations only. What a transfer continues has to stay on the chain, in clear:
    once its owner was erased nothing else would hold it in its line.
    """
    if link.content.kind is not RecordKind.REGISTRATION or link.head != link.digest:
        return False
    try:
        payload = batch_payload(place.root(bytes.fromhex(link.digest)), place.size)
    except ValueError:
        return False
    return any(each.kind is Kind.BATCH and each.payload == payload for each in envelopes)


def _is_carried(link: CustodyLink, payload: bytes) -> bool:
    content = link.content
    commitment = commitment_payload(
        link.digest, link.issuer_pubkey, link.issuer_signature, link.prev_head
    )
    public_view = canonical_json(content.public_view(link.issuer_pubkey, link.issuer_signature))
    if payload == commitment or not content.erased:
        return payload in (commitment, public_view)
    try:
        # Where the chain shows the record it still shows what was erased here.
        return canonical_json(without(json.loads(payload), content.erased)) == public_view
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


def _check_handover(link: CustodyLink, previous: CustodyLink, network: Network) -> Iterable[str]:
    """What was kept of a handover holds, all of it; a claim stands in for an owner's word."""
    custody, erased = link.content.custody, link.content.erased
    if custody is None:
        yield _NOT_SIGNED_OVER
        return
    word, claim, before = custody.owner_word, custody.claim, previous.content.owner
    if not (word or claim or erased & {Piece.OWNER_WORD, Piece.CLAIM}):
        yield _NOT_SIGNED_OVER
    if word is not None and not _is_signed_over(link, custody, word, before, network):
        yield _NOT_SIGNED_OVER
    if claim is not None:
        is_known = Piece.PREVIOUS_OWNER not in erased and Piece.OWNER not in previous.content.erased
        if is_known and claim.previous_owner != before:
            yield "it names another owner before than there was"
        if not _is_claimed(link.content, claim, network):
            yield "its owner did not claim it"


def _is_signed_over(
    link: CustodyLink, custody: Custody, word: OwnerWord, before: str | None, network: Network
) -> bool:
    """Tells whether the owner before signed it over; of an erased one, whether their key did."""
    owner = link.content.owner
    if owner is None or word.signed_txid.lower() != custody.prev_txid:
        return False
    try:
        signer = PublicKey.from_hex(word.public_key_hex).address(network)
    except BitcoinFormatError:
        return False
    message = transfer_message(link.content.uid_tag_id, word.signed_txid, owner)
    return before in (None, signer) and _is_signed(link, word, message)


def _is_signed(link: CustodyLink, word: OwnerWord, message: bytes) -> bool:
    if link.older is None:
        return is_signed_by(word.public_key_hex, word.signature_der_hex, message)
    return older_records.is_signed(
        word.public_key_hex,
        word.signature_der_hex,
        message,
        is_reversed=link.older.is_word_reversed,
    )


def _is_claimed(content: RecordContent, kept: PosClaim, network: Network) -> bool:
    if content.owner is None:
        return False
    claim = Claim(
        content.uid_tag_id,
        content.owner,
        kept.public_key_hex,
        kept.ts,
        kept.nonce,
        kept.signature_der_hex,
    )
    return claim.is_of_key(network) and claim.is_signed()


def _repeated_claims(line: Iterable[CustodyLink]) -> Iterable[str]:
    """The heads of records whose claim an earlier record used up: one moves a patch once."""
    used: set[tuple[str, str]] = set()
    for link in line:
        claim = link.content.custody.claim if link.content.custody else None
        if claim is None:
            continue
        key = (claim.public_key_hex, claim.nonce)
        if key in used:
            yield link.head
        used.add(key)
