"""Records that an older system made: how it signed and anchored them, and whether they hold.

It put the whole record on the chain, as JSON and without an envelope. It hashed metadata in the
order in which a client had sent it. It signed the registration of a patch only, and kept that
signature, with the time that it names, in every record behind it: there the owner's word alone
speaks for the new owner. And some signatures, of issuers and owners, are over the digest with its
bytes reversed, for it read digests from the wrong end.

None of this is honoured for a record of ours: only where the transaction that carries it is an
imported one, whose bytes have the older form, which this service never makes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.bitcoin.curve import N
from app.bitcoin.errors import BitcoinFormatError
from app.bitcoin.keys import PublicKey
from app.bitcoin.scripts import parse_data_script
from app.bitcoin.transactions import Transaction
from app.domain.canonical import sha256_hex
from app.domain.messages import digest, registration_message
from app.domain.records import Piece, RecordContent, without

_MARK = b'"AUTHENTICATION_RECORD"'
# Orders of so many members are tried; an older release allowed three.
_MAX_MEMBERS = 5
_HEX = frozenset({"issuer_pubkey", "prev_txid", "current_owner_pubkey"})
_MEMBERS = _HEX | {"owner", "ts", "issuer_signature", "current_owner_signature"}


@dataclass(frozen=True)
class OlderForm:
    """What has to be known of an older record to check it.

    `metadata_json` is the text whose SHA-256 was signed, `endorsed_ts` the time that the issuer's
    signature names: the registration's. `is_reversed` and `is_word_reversed` say of the issuer's
    and the owner's signature that it is over the reversed digest.
    """

    metadata_json: str
    endorsed_ts: int
    is_reversed: bool = False
    is_word_reversed: bool = False


def find_payload(raw_tx: bytes) -> bytes | None:
    """Answers the record in a transaction of the older system; None where it holds none."""
    try:
        outputs = Transaction.from_bytes(raw_tx).outputs
    except BitcoinFormatError:
        return None
    for output in outputs:
        try:
            pushes = parse_data_script(output.locking_script)
        except BitcoinFormatError:
            continue
        if len(pushes) == 1 and pushes[0].startswith(b"{") and _MARK in pushes[0]:
            return pushes[0]
    return None


def is_signed(
    public_key_hex: str, signature_hex: str, message: bytes, *, is_reversed: bool
) -> bool:
    """Tells whether a compressed key signed a message as the older system saw it.

    A high S, which it accepted, is taken for the low one that is as good.
    """
    hashed = digest(message)
    try:
        signature = _with_low_s(bytes.fromhex(signature_hex))
        key = PublicKey.from_hex(public_key_hex)
    except (ValueError, TypeError):
        return False
    return key.verify(signature, hashed[::-1] if is_reversed else hashed)


def is_endorsed(
    content: RecordContent, form: OlderForm, issuer_pubkey: str, issuer_signature: str
) -> bool:
    """Tells whether this key signed the registration of the record's patch."""
    message = registration_message(content.uid_tag_id, content.metadata_sha256, form.endorsed_ts)
    return is_signed(issuer_pubkey, issuer_signature, message, is_reversed=form.is_reversed)


def find_order(
    metadata: Mapping[str, Any],
    *,
    uid_tag_id: str,
    ts: int,
    issuer_pubkey: str,
    issuer_signature: str,
) -> OlderForm | None:
    """Finds the order of metadata, and of the digest's bytes, that the issuer signed; None where
    it signed none of them."""
    for text in _spellings(metadata):
        message = registration_message(uid_tag_id, sha256_hex(text.encode()), ts)
        for is_reversed in (False, True):
            if is_signed(issuer_pubkey, issuer_signature, message, is_reversed=is_reversed):
                return OlderForm(text, ts, is_reversed=is_reversed)
    return None


def find_problems(
    content: RecordContent,
    form: OlderForm,
    *,
    record_digest: str,
    issuer_pubkey: str,
    issuer_signature: str,
    txid: str,
    raw_tx: bytes | None,
) -> Iterator[str]:
    """Yields what is wrong with an older record; whether its issuer is pinned others ask."""
    if not is_endorsed(content, form, issuer_pubkey, issuer_signature):
        yield "no pinned issuer key signed it"
    if content.custody is None and form.endorsed_ts != content.ts:
        yield "its time is not what was signed"
    if not _is_metadata(content, form):
        yield "its metadata is not what was signed"
    payload = None if raw_tx is None else find_payload(raw_tx)
    if payload is None or Transaction.from_bytes(raw_tx or b"").txid != txid:
        yield "its transaction does not carry it"
        return
    if sha256_hex(payload) != record_digest:
        yield "its digest is not that of the record"
    if not _is_view(payload, content.public_view(issuer_pubkey, issuer_signature), content.erased):
        yield "its transaction does not carry it"


def spell(metadata: Mapping[str, Any]) -> str:
    """Return metadata as the older system wrote it: JSON without spaces, members as they stand."""
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def _spellings(metadata: Mapping[str, Any]) -> Iterator[str]:
    members = list(metadata.items())
    if len(members) > _MAX_MEMBERS:
        yield spell(metadata)
        yield spell(dict(sorted(members)))
        return
    # The order in which they stand comes first.
    for order in itertools.permutations(members):
        yield spell(dict(order))


def _is_metadata(content: RecordContent, form: OlderForm) -> bool:
    try:
        spelled = json.loads(form.metadata_json)
        hashed = sha256_hex(form.metadata_json.encode())
    except ValueError:
        return False
    return bool(spelled == content.metadata and hashed == content.metadata_sha256)


def _is_view(payload: bytes, view: Mapping[str, Any], erased: Iterable[Piece]) -> bool:
    """Tells whether the chain shows this view, but for what was erased here."""
    try:
        shown = clean(json.loads(payload))
        pieces = frozenset(erased)
        # How the owner spelled the head is no part of what the chain shows.
        auth = {name: value for name, value in view["auth"].items() if name != "signed_txid"}
        return bool((without(shown, pieces) if pieces else shown) == {**view, "auth": auth})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def clean(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an older record says, without what stood in it for its batch or itself.

    Raises:
        KeyError, TypeError, AttributeError: it is no record.
    """
    auth = {
        name: value.lower() if name in _HEX else value
        for name, value in shown["auth"].items()
        if name in _MEMBERS
    }
    return {
        "type": shown["type"],
        "product": shown["product"],
        "metadata": shown.get("metadata", {}),
        "auth": auth,
    }


def _with_low_s(der: bytes) -> bytes:
    """Return a DER signature with the lower of its two S; anything odd as it is."""
    if len(der) < 8 or der[0] != 0x30 or der[1] != len(der) - 2:
        return der
    r_end = 4 + der[3]
    s = int.from_bytes(der[r_end + 2 :], "big")
    if not N // 2 < s < N:
        return der
    low = N - s
    body = low.to_bytes(low.bit_length() // 8 + 1, "big")
    numbers = der[2:r_end] + bytes([0x02, len(body)]) + body
    return bytes([0x30, len(numbers)]) + numbers
